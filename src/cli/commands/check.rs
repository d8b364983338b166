//! `runlog check`: checks options, store, schema and clock without a server start.

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde::Serialize;
use std::time::Duration;

use super::serve;
use crate::cli::client::duration;
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::OutputArgs;
use crate::cli::output::json_line;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::Clock;
use crate::cli::output::text::clean;
use crate::config::ServeOptions;
use crate::server;
use crate::server::{CheckOptions, CheckResult, Verdict};

/// The options of `runlog check`.
#[derive(Debug, Args)]
#[command(
    after_help = "One line a check: ok, warning or failed, its name, and what was found. It changes nothing and makes \
                        nothing, and may be run while servers run. The exit code is 0 unless a check failed, then 78."
)]
pub struct CheckArgs {
    /// Read the whole store for damage, however long that takes, and compare all with its checksums; without it only its end
    #[arg(long)]
    deep: bool,
    /// How far the clock may lie behind the newest event, and off the clock of the database server
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    max_clock_skew: Duration,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    options: ServeOptions,
}

#[derive(Serialize)]
struct ResultLine<'a> {
    check: &'static str,
    result: &'static str,
    detail: &'a str,
}

/// Prints the result of each check; an error if any check failed.
pub async fn run(args: CheckArgs) -> Result<(), Failure> {
    let check_options = CheckOptions { deep: args.deep, max_clock_skew: args.max_clock_skew };
    let mut results = server::check(&args.options, check_options).await;
    if let Err(problem) = serve::log_filter(&args.options) {
        results.insert(0, CheckResult::failed("log", problem.message));
    }
    let mut printer = Printer::new(args.output.format(), Clock::Day);
    for result in &results {
        printer.result(|| json_line::line(&line(result)), || row(result))?;
    }
    printer.end()?;
    match results.iter().filter(|result| result.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        failed => Err(Failure::new(Exit::Config, format!("{failed} of {} checks failed", results.len()))),
    }
}

fn line(result: &CheckResult) -> ResultLine<'_> {
    ResultLine { check: result.name, result: word(result.verdict), detail: &result.detail }
}

fn row(result: &CheckResult) -> String {
    let style = match result.verdict {
        Verdict::Ok => Style::new(),
        Verdict::Warning => AnsiColor::Yellow.on_default(),
        Verdict::Failed => AnsiColor::Red.on_default().bold(),
    };
    format!("{style}{:<7}{style:#}  {:<13}  {}", word(result.verdict), result.name, clean(&result.detail))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "failed",
    }
}
