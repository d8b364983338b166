//! `runlog export`: all events of a store as a file for `runlog import`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;

use super::line::{self, Bound, Header, VERSION};
use super::output::Output;
use super::source::Source;
use super::target::{Begun, Target};
use crate::cli::calls::PlaceArgs;
use crate::cli::client::{ClientArgs, duration};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::progress::bar;
use crate::cli::output::render::note;
use crate::cli::output::text::grouped;
use crate::domain::{FeedCursor, FeedId, ProjectId};
use crate::pb;
use crate::pb::list_events_request::Scope as WireScope;

/// The options of `runlog export`.
#[derive(Debug, Args)]
#[command(after_help = "\
The file begins with a header, has one line an event, in the order in which they were committed, and ends with a trailer that \
holds their number and their SHA-256. What is published while the export runs is not in it. Payloads are the text that \
was sent. A file that is cut off has no trailer; --resume continues it: it drops a last line that is not whole, once the \
file is known as an export of this program and the store as the one that it came from. No other file is changed.

In another store that imports the file, cursors of a run stay valid; cursors of the all-runs feed are refused by name, since \
they belong to this store.")]
pub struct ExportArgs {
    /// Only this run; may be given several times. Without it all runs
    #[arg(long = "run", value_name = "RUN")]
    runs: Vec<String>,
    /// The file, which must not be there yet; without it stdout
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Go on behind the last whole line of --output, up to where that export was to end
    #[arg(long, requires = "output")]
    resume: bool,
    #[command(flatten)]
    place: PlaceArgs,
    /// Project of the store to export, with --data or --store; a server exports the project of the key
    #[arg(long, value_name = "PROJECT", value_parser = ProjectId::parse)]
    project: Option<ProjectId>,
    /// How long to try again after a connection was lost; 0s for not at all
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = duration)]
    reconnect_for: Duration,
    #[command(flatten)]
    client: ClientArgs,
}

/// Writes a new export, or completes an interrupted export with `--resume`.
pub async fn run(args: ExportArgs) -> Result<(), Failure> {
    let target = match &args.output {
        Some(path) if args.resume => Target::resume(path)?,
        Some(path) => Target::new(path)?,
        None => Target::Stdout,
    };
    if target.begun().is_some_and(|begun| begun.is_whole) {
        note("the export is whole; there is nothing to go on with");
        return Ok(());
    }
    let project = args.project.clone().unwrap_or_default();
    let mut source = match args.place.store() {
        Some(store) => Source::store(&store, &project, args.client.clone()).await?,
        None if args.project.is_some() => {
            let failure = Failure::new(Exit::Usage, "--project needs --data or --store");
            return Err(failure.hint("a server exports the project of the key"));
        }
        None => Source::server(args.client.clone(), args.reconnect_for).await?,
    };
    let began = Instant::now();
    let exported = export(&args.runs, &mut source, target).await;
    source.close().await;
    let tally = exported?.finish()?;
    let (events, runs) = (grouped(tally.events()), grouped(tally.runs()));
    note(&format!("{events} events of {runs} runs, {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// Writes the header and the events; for a resumed file only the missing part.
async fn export(runs: &[String], source: &mut Source, target: Target) -> Result<Output, Failure> {
    let end = source.feed_end().await?;
    let feed = end.feed;
    let begun = target.begun();
    let last = begun.and_then(|begun| begun.last.clone());
    let header = match begun.and_then(|begun| begun.header.clone()) {
        Some(header) => same(header, feed, runs)?,
        None => header(runs, source, end).await?,
    };
    let Some(bounds) = &header.runs else {
        let until = header.until.as_deref().unwrap_or_default();
        let until = FeedCursor::parse(until).ok().filter(|until| until.feed == feed);
        let until = until.ok_or_else(|| not_ours("until"))?;
        // Feed positions begin at 1 without gaps, so the number of events is the position of the last event.
        let from = target.begun().map_or(0, Begun::events);
        if from > until.position {
            return Err(not_ours("until"));
        }
        let mut output = target.open(&header)?;
        let bar = bar(Some(until.position));
        let all = WireScope::AllRuns(pb::AllRuns {});
        let cursor = |at: u64| until.at(at).to_string();
        copy(source, &mut output, &bar, all, from, until.position, cursor).await?;
        bar.finish_and_clear();
        return Ok(output);
    };
    // Runs are exported one after the other, so all runs before the last run in the file are complete.
    let (from, mut seq) = match &last {
        Some((run_id, seq)) => {
            (bounds.iter().position(|bound| bound.run_id == *run_id).ok_or_else(|| not_ours("runs"))?, *seq)
        }
        None => (0, 0),
    };
    let mut output = target.open(&header)?;
    let bar = bar(Some(bounds.iter().map(|bound| bound.last_seq).sum()));
    for bound in &bounds[from..] {
        let scope = WireScope::RunId(bound.run_id.clone());
        copy(source, &mut output, &bar, scope, seq, bound.last_seq, |seq| seq.to_string()).await?;
        seq = 0;
    }
    bar.finish_and_clear();
    Ok(output)
}

/// Copies the events between two offsets: `from` exclusive, `until` inclusive.
async fn copy(
    source: &mut Source,
    output: &mut Output,
    bar: &ProgressBar,
    scope: WireScope,
    from: u64,
    until: u64,
    cursor: impl Fn(u64) -> String,
) -> Result<(), Failure> {
    let mut at = from;
    while at < until {
        let events = source.page(&scope, cursor(at), until - at).await?;
        let mut founded = source.founded(&events).await?.into_iter();
        for event in &events {
            let run = if event.seq == 1 { founded.next() } else { None };
            output.event(&line::event(event, run.as_ref())?, event.seq == 1)?;
        }
        at += events.len() as u64;
        bar.set_position(output.tally().events());
        bar.set_message(format!("{} events", grouped(output.tally().events())));
    }
    Ok(())
}

/// Header of a new export, which ends at the present end of the feed or of each chosen run.
async fn header(runs: &[String], source: &Source, end: FeedCursor) -> Result<Header, Failure> {
    let project = source.project().await?.filter(|project| project != ProjectId::DEFAULT);
    let new = Header { runlog_export: VERSION, project, feed: feed_name(end.feed), until: None, runs: None };
    if runs.is_empty() {
        return Ok(Header { until: Some(end.to_string()), ..new });
    }
    let mut bounds: Vec<Bound> = Vec::new();
    for run_id in runs {
        if bounds.iter().all(|bound| bound.run_id != *run_id) {
            bounds.push(Bound { run_id: run_id.clone(), last_seq: source.run_end(run_id).await? });
        }
    }
    Ok(Header { runs: Some(bounds), ..new })
}

/// Checks that the header of a resumed file names the same feed and the same runs.
fn same(header: Header, feed: FeedId, runs: &[String]) -> Result<Header, Failure> {
    if header.feed != feed_name(feed) {
        return Err(not_ours("feed"));
    }
    let of_file: Vec<&String> = header.runs.iter().flatten().map(|bound| &bound.run_id).collect();
    let are_same = runs.iter().all(|run| of_file.contains(&run)) && of_file.iter().all(|run| runs.contains(run));
    if !runs.is_empty() && !are_same {
        return Err(not_ours("runs"));
    }
    Ok(header)
}

fn feed_name(feed: FeedId) -> String {
    format!("{:08x}", feed.0)
}

fn not_ours(field: &str) -> Failure {
    let message = format!("--resume: the file is an export of something else: its {field} differs");
    Failure::new(Exit::Conflict, message).hint("export into a new file")
}
