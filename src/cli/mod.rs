//! The program `runlog`: its commands, what they print and how they end.
//!
//! `serve` runs the server and `serve --demo` plays into it. `check`, `migrate` and `transfer`'s import open the store
//! themselves. All others are clients over gRPC, `transfer`'s export is either. `client` reaches the server, `render` and
//! `json_line` print events, `exit` turns an error into words and an exit code.

mod bench;
mod check;
mod client;
mod demo;
mod exit;
mod health;
mod json_line;
mod list;
mod migrate;
mod preview;
mod progress;
mod publish;
mod publish_input;
mod publish_line;
mod publish_stdin;
mod render;
mod runs;
mod scope;
mod serve;
mod tail;
mod text;
mod transfer;

use std::io::Write as _;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};

use exit::{Exit, Failure};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// The durable event log and live feed of agent runs.
#[derive(Debug, Parser)]
#[command(name = "runlog", version, styles = STYLES, max_term_width = 110, after_help = exit::HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; with --demo, play runs into it and show them live
    Serve(Box<serve::ServeArgs>),
    /// Publish one event, or one from each line of stdin
    Publish(publish::PublishArgs),
    /// List stored events
    List(list::ListArgs),
    /// Follow a run, or all runs: what is stored, then what comes
    Tail(tail::TailArgs),
    /// List runs, or show one in full
    Runs(runs::RunsArgs),
    /// Measure a server: publish rates, replay, live delivery
    Bench(bench::BenchArgs),
    /// Ask the server whether it serves
    Health(health::HealthArgs),
    /// Check options, store, schema and clock, without starting the server
    Check(Box<check::CheckArgs>),
    /// Bring the schema of the store up to date
    Migrate(migrate::MigrateArgs),
    /// Write all that is stored, or some runs, to a file
    Export(transfer::export::ExportArgs),
    /// Store what an export wrote, as it was
    Import(transfer::import::ImportArgs),
}

/// Parses the command line, runs the command, tells what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are printed this way too, and are no errors. Nobody to tell when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Ok as u8 });
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.text();
            if !text.is_empty() {
                let _ = writeln!(anstream::stderr(), "{text}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let mut runtime = match command {
        Command::Serve(_) | Command::Bench(_) | Command::Export(_) | Command::Import(_) => {
            tokio::runtime::Builder::new_multi_thread()
        }
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Other, format!("cannot start: {error}")))?;
    if matches!(command, Command::Check(_) | Command::Migrate(_) | Command::Export(_) | Command::Import(_)) {
        serve::log_warnings();
    }
    runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(*args).await,
            Command::Publish(args) => publish::run(args).await,
            Command::List(args) => list::run(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Runs(args) => runs::run(args).await,
            Command::Bench(args) => bench::run(args).await,
            Command::Health(args) => health::run(args).await,
            Command::Check(args) => check::run(*args).await,
            Command::Migrate(args) => migrate::run(args).await,
            Command::Export(args) => transfer::export::run(args).await,
            Command::Import(args) => transfer::import::run(args).await,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_help_documents_the_exit_codes() {
        assert!(Cli::command().render_help().to_string().contains("69  the server is unavailable"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for bad in [
            vec!["tail"],
            vec!["tail", "r", "--all"],
            vec!["tail", "r", "--from", "3", "-n", "2"],
            vec!["list", "--run", "r", "--all"],
            vec!["runs", "r", "--agent", "a"],
            vec!["publish"],
            vec!["publish", "--run", "r"],
            vec!["publish", "-", "--type", "t"],
            vec!["tail", "r", "--server", "https://h"],
            vec!["export", "--resume"],
            vec!["export", "--data", "f", "--store", "postgres://h"],
            vec!["import"],
        ] {
            let args = ["runlog"].into_iter().chain(bad.clone());
            assert!(Cli::try_parse_from(args).is_err_and(|error| error.use_stderr()), "{bad:?}");
        }
        for good in [
            vec!["tail", "r"],
            vec!["tail", "--all", "-n", "5"],
            vec!["publish", "--run", "r", "--type", "t"],
            vec!["publish", "-"],
            vec!["publish", "--stdin", "--run", "r"],
            vec!["runs", "--status", "FAILED", "--status", "awaiting_input"],
            vec!["serve", "--demo", "--listen", "127.0.0.1:0"],
            vec!["export", "--run", "a", "--run", "b", "-o", "f", "--resume"],
            vec!["import", "-", "--data", "f"],
            vec!["check", "--deep", "--listen", "127.0.0.1:0"],
        ] {
            let args = ["runlog"].into_iter().chain(good.clone());
            assert!(Cli::try_parse_from(args).is_ok(), "{good:?}");
        }
    }
}
