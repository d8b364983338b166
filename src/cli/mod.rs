//! The `runlog` program: commands, output, exit codes.
//!
//! `serve` runs the server; `serve --demo` also publishes demo runs. `check`, `migrate`, `import`, `verify` and `restore` open a
//! store in this process; `backup` and `export` read from a server or open the store. The remaining commands are clients of a
//! server. `client` connects to the server, `output` formats events, `outcome` maps errors to messages and exit codes, `profile`
//! and `variables` give options their values.

mod backoff;
mod backup;
mod bench;
mod calls;
mod client;
mod commands;
mod demo;
mod outcome;
mod output;
mod profile;
mod scope;
mod time;
mod transfer;
mod variables;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use outcome::{Exit, Failure};
use profile::Profile;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// The durable event log and live feed of agent runs.
#[derive(Debug, Parser)]
#[command(name = "runlog", version, styles = STYLES, max_term_width = 110, after_help = outcome::HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; with --demo, play runs into it and show them live
    Serve(Box<commands::serve::ServeArgs>),
    /// Publish one event, or one from each line of stdin
    Publish(commands::publish::PublishArgs),
    /// List stored events
    List(commands::list::ListArgs),
    /// Follow a run, or all runs: what is stored, then what comes
    Tail(commands::tail::TailArgs),
    /// List runs, or show one in full
    Runs(commands::runs::RunsArgs),
    /// Erase the payloads of a run, for good
    Erase(commands::erase::EraseArgs),
    /// Hold a run: retention passes it over
    Hold(commands::erase::HoldArgs),
    /// End the hold of a run
    Release(commands::erase::HoldArgs),
    /// Create, list, revoke and rotate the keys of callers
    Keys(commands::keys::KeysArgs),
    /// Measure a server: publish rates, replay, live delivery
    Bench(bench::BenchArgs),
    /// Ask the server whether it serves
    Health(commands::health::HealthArgs),
    /// Check options, store, schema and clock, without starting the server
    Check(Box<commands::check::CheckArgs>),
    /// Bring the schema of the store up to date
    Migrate(commands::migrate::MigrateArgs),
    /// Copy the whole SQLite store of a running server, checked
    Backup(backup::make::BackupArgs),
    /// Check a backup, and replay it into a scratch store
    Verify(backup::verify::VerifyArgs),
    /// Make a new SQLite store out of a backup
    Restore(backup::restore::RestoreArgs),
    /// Write all that is stored, or some runs, to a file
    Export(transfer::export::ExportArgs),
    /// Store what an export wrote, as it was
    Import(transfer::import::ImportArgs),
    /// Print the completions of a shell
    Completions(commands::completions::CompletionsArgs),
    /// Print runlog(1), or write the pages of all commands
    Man(commands::completions::ManArgs),
}

/// Entry point of the program: parses the command line, runs the command, prints an error, returns the exit code.
pub fn main() -> ExitCode {
    match parse(std::env::args_os().collect()).and_then(|cli| run(cli.command).map_err(Refused::ByCommand)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refused::ByParser(error)) => {
            // Help and version are clap errors as well. A failed write to the terminal cannot be reported.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Ok as u8 })
        }
        Err(Refused::ByCommand(failure)) => {
            let text = failure.text();
            if !text.is_empty() {
                let _ = writeln!(anstream::stderr(), "{text}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// The command line with all its options.
fn definition() -> clap::Command {
    profile::with_option(Cli::command())
}

/// Why a command ended without success.
#[derive(Debug)]
enum Refused {
    ByParser(clap::Error),
    ByCommand(Failure),
}

/// Parses the command line: once to find the profile, and once more with its values.
fn parse(args: Vec<OsString>) -> Result<Cli, Refused> {
    let command = variables::without_empty(definition());
    let mut matches = command.clone().try_get_matches_from(&args).map_err(Refused::ByParser)?;
    if let Some(name) = profile::chosen(&matches).map_err(Refused::ByCommand)? {
        let profile = Profile::load(&name).map_err(Refused::ByCommand)?.for_server_of(&matches);
        matches = profile.applied(command).try_get_matches_from(&args).map_err(Refused::ByParser)?;
    }
    Cli::from_arg_matches(&matches).map_err(Refused::ByParser)
}

fn run(command: Command) -> Result<(), Failure> {
    let mut runtime = match command {
        Command::Serve(_)
        | Command::Bench(_)
        | Command::Backup(_)
        | Command::Verify(_)
        | Command::Restore(_)
        | Command::Export(_)
        | Command::Import(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Other, format!("cannot start: {error}")))?;
    if matches!(
        command,
        Command::Check(_)
            | Command::Migrate(_)
            | Command::Keys(_)
            | Command::Backup(_)
            | Command::Verify(_)
            | Command::Restore(_)
            | Command::Export(_)
            | Command::Import(_)
    ) {
        commands::serve::log_warnings();
    }
    runtime.block_on(async {
        match command {
            Command::Serve(args) => commands::serve::run(*args).await,
            Command::Publish(args) => commands::publish::run(args).await,
            Command::List(args) => commands::list::run(args).await,
            Command::Tail(args) => commands::tail::run(args).await,
            Command::Runs(args) => commands::runs::run(args).await,
            Command::Erase(args) => commands::erase::run(args).await,
            Command::Hold(args) => commands::erase::hold(args).await,
            Command::Release(args) => commands::erase::release(args).await,
            Command::Keys(args) => commands::keys::run(args).await,
            Command::Bench(args) => bench::run(args).await,
            Command::Health(args) => commands::health::run(args).await,
            Command::Check(args) => commands::check::run(*args).await,
            Command::Migrate(args) => commands::migrate::run(args).await,
            Command::Backup(args) => backup::make::run(args).await,
            Command::Verify(args) => backup::verify::run(args).await,
            Command::Restore(args) => backup::restore::run(args).await,
            Command::Export(args) => transfer::export::run(args).await,
            Command::Import(args) => transfer::import::run(args).await,
            Command::Completions(args) => commands::completions::run(&args, definition()),
            Command::Man(args) => commands::completions::man(&args, definition()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn the_help_documents_the_exit_codes() {
        assert!(definition().render_help().to_string().contains("69  the server is unavailable"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for bad in [
            vec!["tail"],
            vec!["tail", "r", "--all"],
            vec!["tail", "r", "--cursor", "3", "-n", "2"],
            vec!["tail", "r", "--from", "3", "--cursor", "2"],
            vec!["list", "r", "--json", "--output", "table"],
            vec!["list", "r", "--output", "yaml"],
            vec!["completions", "tcsh"],
            vec!["--profile", "p", "serve"],
            vec!["list", "--run", "r", "--all"],
            vec!["runs", "r", "--agent", "a"],
            vec!["publish"],
            vec!["publish", "--run", "r"],
            vec!["publish", "-", "--type", "t"],
            vec!["tail", "r", "--server", "ftp://h"],
            vec!["tail", "r", "--cert", "c"],
            vec!["serve", "--demo", "--tls-cert", "c", "--tls-key", "k"],
            vec!["export", "--resume"],
            vec!["export", "--data", "f", "--store", "postgres://h"],
            vec!["import"],
            vec!["backup"],
            vec!["restore", "b"],
            vec!["erase"],
            vec!["erase", "r", "--seq", "9..3"],
            vec!["hold"],
            vec!["keys"],
            vec!["keys", "create", "--name", "ci"],
            vec!["keys", "create", "--name", "ci", "--scope", "all"],
        ] {
            let args = ["runlog"].into_iter().chain(bad.clone()).map(OsString::from);
            let refused = parse(args.collect()).unwrap_err();
            assert!(!matches!(refused, Refused::ByParser(error) if !error.use_stderr()), "{bad:?}");
        }
        for good in [
            vec!["tail", "r"],
            vec!["tail", "--all", "-n", "5"],
            vec!["tail", "r", "--from", "3", "--output", "json"],
            vec!["tail", "r", "--lines", "3"],
            vec!["export", "--output", "f"],
            vec!["completions", "zsh"],
            vec!["man", "--directory", "d"],
            vec!["tail", "r", "--server", "https://h", "--ca", "a", "--cert", "c", "--cert-key", "k"],
            vec!["publish", "--run", "r", "--type", "t"],
            vec!["publish", "-"],
            vec!["publish", "--stdin", "--run", "r"],
            vec!["runs", "--status", "FAILED", "--status", "awaiting_input"],
            vec!["serve", "--demo", "--listen", "127.0.0.1:0"],
            vec!["export", "--run", "a", "--run", "b", "-o", "f", "--resume"],
            vec!["import", "-", "--data", "f"],
            vec!["backup", "b", "--data", "f", "--verify", "--force", "--json"],
            vec!["restore", "b", "--data", "f", "--new-feed"],
            vec!["keys", "create", "--name", "ci", "--scope", "events.read", "--data", "f"],
            vec!["erase", "r", "--seq", "3..9", "--yes"],
            vec!["hold", "r"],
            vec!["check", "--deep", "--listen", "127.0.0.1:0"],
        ] {
            let args = ["runlog"].into_iter().chain(good.clone()).map(OsString::from);
            assert!(parse(args.collect()).is_ok(), "{good:?}");
        }
    }
}
