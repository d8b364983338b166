//! `runlog erase`, `hold` and `release`: payloads erased for good, and runs held against retention.

use std::io::{IsTerminal, Write, stderr, stdin};

use clap::Args;

use crate::cli::client::ClientArgs;
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::OutputArgs;
use crate::cli::output::json_line;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::Clock;
use crate::cli::output::text::{grouped, shown_name};
use crate::pb;

/// The options of `runlog erase`.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run_id: String,
    /// Only these events, as 7, 3..9, ..9 or 3..; without it all of the run
    #[arg(long, value_name = "SEQS", value_parser = seqs, default_value = "..", hide_default_value = true)]
    seq: (u64, u64),
    /// Do not ask on a terminal
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// The options of `runlog hold` and `runlog release`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The run
    #[arg(value_name = "RUN")]
    run_id: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Line of `--json`.
#[derive(serde::Serialize)]
struct ErasedLine<'a> {
    run_id: &'a str,
    first_seq: u64,
    last_seq: u64,
    erased: u64,
}

/// First and last seq; 0: that of the run.
fn seqs(text: &str) -> Result<(u64, u64), String> {
    let problem = || format!("must be 7, 3..9, ..9 or 3..; it is {text:?}");
    let bound = |text: &str| match text {
        "" => Ok(0),
        seq => seq.parse().ok().filter(|seq| *seq > 0).ok_or_else(problem),
    };
    match text.split_once("..") {
        Some((first, last)) => {
            let (first, last) = (bound(first)?, bound(last)?);
            if last > 0 && first > last { Err(problem()) } else { Ok((first, last)) }
        }
        None if text.is_empty() => Err(problem()),
        None => bound(text).map(|seq| (seq, seq)),
    }
}

/// Erases the payloads, after a question on a terminal.
pub async fn run(args: EraseArgs) -> Result<(), Failure> {
    let (first_seq, last_seq) = args.seq;
    if !args.yes && stdin().is_terminal() && !is_confirmed(&args.run_id, args.seq)? {
        return Err(Failure::new(Exit::Other, "nothing was erased"));
    }
    let mut runs = args.client.runs().await?;
    let request = pb::EraseEventsRequest { run_id: args.run_id.clone(), first_seq, last_seq };
    let call = runs.erase_events(args.client.request(request));
    let answer = args.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
    let pb::EraseEventsResponse { first_seq, last_seq, events } = answer;
    let line = ErasedLine { run_id: &args.run_id, first_seq, last_seq, erased: events };
    let text = format!("{} events of {} have no payload any more", grouped(events), shown_name(&args.run_id));
    Printer::new(args.output.format(), Clock::Day).only(|| json_line::line(&line), || text.clone())
}

fn is_confirmed(run_id: &str, seqs: (u64, u64)) -> Result<bool, Failure> {
    let events = match seqs {
        (0, 0) => "all events".to_owned(),
        (0, last) => format!("the events up to {last}"),
        (first, 0) => format!("the events from {first} on"),
        (first, last) => format!("the events {first} to {last}"),
    };
    let unreadable = |error: std::io::Error| Failure::new(Exit::Other, format!("cannot ask: {error}; use --yes"));
    write!(stderr(), "Erase the payloads of {events} of {} for good? [y/N] ", shown_name(run_id))
        .map_err(unreadable)?;
    let mut answer = String::new();
    stdin().read_line(&mut answer).map_err(unreadable)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Holds a run.
pub async fn hold(args: HoldArgs) -> Result<(), Failure> {
    let mut runs = args.client.runs().await?;
    let call = runs.hold_run(args.client.request(pb::HoldRunRequest { run_id: args.run_id.clone() }));
    let answer = args.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
    print(&args, answer.run.unwrap_or_default(), "is held")
}

/// Releases a run.
pub async fn release(args: HoldArgs) -> Result<(), Failure> {
    let mut runs = args.client.runs().await?;
    let call = runs.release_run(args.client.request(pb::ReleaseRunRequest { run_id: args.run_id.clone() }));
    let answer = args.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
    print(&args, answer.run.unwrap_or_default(), "is held no more")
}

fn print(args: &HoldArgs, run: pb::Run, state: &str) -> Result<(), Failure> {
    let text = format!("{} {state}", shown_name(&run.run_id));
    Printer::new(args.output.format(), Clock::Day).only(|| json_line::run(&run), || text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_seqs_is_read_as_it_is_written() {
        let good = [("7", (7, 7)), ("3..9", (3, 9)), ("..9", (0, 9)), ("3..", (3, 0)), ("..", (0, 0))];
        for (text, range) in good {
            assert_eq!(seqs(text).unwrap(), range, "{text}");
        }
        for bad in ["", "0", "9..3", "a", "1..b", "-1", "0..3"] {
            assert!(seqs(bad).is_err(), "{bad}");
        }
    }
}
