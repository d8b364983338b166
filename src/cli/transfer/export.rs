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
use crate::server::FirstOfRuns;

/// The options of `runlog export`.
#[derive(Debug, Args)]
#[command(after_help = "\
The file begins with a header, has one line an event, in the order in which they were committed, and ends with a trailer that \
holds their number and their SHA-256. What is published while the export runs is not in it. Payloads are the text that \
was sent.

--resume completes a file that was cut off and has no trailer: it drops a last line that is not whole, and goes on up to where \
that export was to end. To a file that is whole it adds what came since. Before it changes the file it makes sure that this is \
an export, that the store is the one that it came from, and that the store still has the last event of the file. Where retention \
has removed that, or events that are not in the file yet, the file is left as it is. No other file is changed.

In another store that imports the file, cursors of a run stay valid; cursors of the all-runs feed are refused by name, since \
they belong to this store.")]
pub struct ExportArgs {
    /// Only this run; may be given several times. Without it all runs
    #[arg(long = "run", value_name = "RUN")]
    runs: Vec<String>,
    /// The file, which must not be there yet; without it stdout
    #[arg(long, short = 'o', alias = "output", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Go on behind the last event of --file: complete an export that was cut off, or add to a whole one what came since
    #[arg(long, requires = "file")]
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

/// Writes a new export, or continues one with `--resume`.
pub async fn run(args: ExportArgs) -> Result<(), Failure> {
    let target = match &args.file {
        Some(path) if args.resume => Target::resume(path)?,
        Some(path) => Target::new(path)?,
        None => Target::Stdout,
    };
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
    let Some(exported) = exported? else {
        note("the export is whole, and nothing came since");
        return Ok(());
    };
    let tally = exported.finish()?;
    let (events, runs) = (grouped(tally.events()), grouped(tally.runs()));
    note(&format!("{events} events of {runs} runs, {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// A part of the export: the events of a scope between two offsets, the first exclusive, the second inclusive.
struct Part {
    scope: WireScope,
    from: u64,
    until: u64,
    /// A cursor of the feed to make others from; `None` in a run.
    feed: Option<FeedCursor>,
}

impl Part {
    fn of_feed(from: u64, until: FeedCursor) -> Self {
        Self { scope: WireScope::AllRuns(pb::AllRuns {}), from, until: until.position, feed: Some(until) }
    }

    fn of_run(run_id: &str, from: u64, until: u64) -> Self {
        Self { scope: WireScope::RunId(run_id.to_owned()), from, until, feed: None }
    }

    fn is_empty(&self) -> bool {
        self.from == self.until
    }

    fn holds(&self, run_id: &str) -> bool {
        match &self.scope {
            WireScope::RunId(of_part) => of_part == run_id,
            WireScope::AllRuns(_) => true,
        }
    }

    fn cursor(&self, at: u64) -> String {
        self.feed.as_ref().map_or_else(|| at.to_string(), |feed| feed.at(at).to_string())
    }
}

/// Writes the header and the events; for a resumed file only the missing part. `None`: the file is whole, and nothing came since.
async fn export(runs: &[String], source: &mut Source, target: Target) -> Result<Option<Output>, Failure> {
    let end = source.feed_end().await?;
    let header = match target.begun().and_then(|begun| begun.header.clone()) {
        Some(header) => same(header, end.feed, runs)?,
        None => header(runs, source, &end).await?,
    };
    let parts = match &header.runs {
        None => vec![rest_of_feed(&header, end, target.begun())?],
        Some(bounds) => rest_of_runs(bounds, source, target.begun()).await?,
    };
    if let Some(begun) = target.begun() {
        let is_end = parts.iter().all(Part::is_empty);
        if !removed(begun, &parts, is_end, source).await? {
            has_last_event(begun, &parts, source).await?;
        }
        if begun.is_whole && is_end {
            return Ok(None);
        }
    }
    let mut first_of_runs = first_of_runs(&header, target.begun());
    let mut output = target.open(&header)?;
    let missing: u64 = parts.iter().map(|part| part.until - part.from).sum();
    let bar = bar(Some(output.tally().events() + missing));
    for part in &parts {
        copy(source, &mut output, &bar, part, &mut first_of_runs).await?;
    }
    bar.finish_and_clear();
    Ok(Some(output))
}

/// The missing part of an export of all runs. It ends where the header says, unless the file was whole once: then at the present
/// end of the feed.
fn rest_of_feed(header: &Header, end: FeedCursor, begun: Option<&Begun>) -> Result<Part, Failure> {
    let until = header.until.as_deref().unwrap_or_default();
    let until = FeedCursor::parse(until).ok().filter(|until| until.feed == end.feed);
    let until = until.ok_or_else(|| not_ours("until differs"))?;
    // Positions have no gaps, so the number of events leads to the position of the last event.
    let from = header.after + begun.map_or(0, Begun::events);
    let was_whole = begun.is_some_and(|begun| begun.is_whole || from > until.position);
    let part = Part::of_feed(from, if was_whole { end } else { until });
    if part.from > part.until { Err(not_ours("until differs")) } else { Ok(part) }
}

/// The missing parts of an export of chosen runs, one for each run. They end where the header says, unless the file was whole
/// once: then at the present ends of the runs.
async fn rest_of_runs(bounds: &[Bound], source: &Source, begun: Option<&Begun>) -> Result<Vec<Part>, Failure> {
    let is_chosen = |run_id: &String| bounds.iter().any(|bound| bound.run_id == *run_id);
    if begun.is_some_and(|begun| !begun.run_ends.keys().all(is_chosen)) {
        return Err(not_ours("runs differs"));
    }
    let written =
        |bound: &Bound| begun.and_then(|begun| begun.run_ends.get(&bound.run_id)).copied().unwrap_or(bound.after);
    let goes_beyond = |bound: &Bound| written(bound) > bound.last_seq;
    let was_whole = begun.is_some_and(|begun| begun.is_whole || bounds.iter().any(goes_beyond));
    let mut parts = Vec::new();
    for bound in bounds {
        let until = if was_whole { source.run_end(&bound.run_id).await? } else { bound.last_seq };
        let part = Part::of_run(&bound.run_id, written(bound), until);
        if part.from > part.until {
            return Err(not_ours("runs differs"));
        }
        parts.push(part);
    }
    Ok(parts)
}

/// Whether the source has removed the last event of the file, and all it has is in the file. Fails if it has removed an event that
/// the file lacks, or the event with which the file could be compared: an export has no gap.
async fn removed(begun: &Begun, parts: &[Part], is_end: bool, source: &Source) -> Result<bool, Failure> {
    let mut is_last_removed = false;
    for part in parts {
        let before = match (&part.scope, &part.feed) {
            (WireScope::RunId(run_id), _) => source.bound(run_id).await?.after,
            (WireScope::AllRuns(_), Some(end)) => source.before_feed(end).await?,
            (WireScope::AllRuns(_), None) => 0,
        };
        let has_last = begun.last.as_ref().is_some_and(|last| part.holds(&last.run_id));
        let (is_removed, has_gap) = (has_last && before >= part.from, before > part.from && !part.is_empty());
        if has_gap || is_removed && !is_end {
            let of =
                if let WireScope::RunId(run_id) = &part.scope { format!("run {run_id}") } else { "the feed".into() };
            let message = format!(
                "--resume: the store has removed the events of {of} up to {before}, and those of the file end with {}",
                part.from
            );
            return Err(
                Failure::new(Exit::Conflict, message).hint("keep the file, and export into a new one what is kept")
            );
        }
        is_last_removed |= is_removed;
    }
    Ok(is_last_removed)
}

/// Fails unless the source has the last event of the file at its place: a store that went back in time has another one.
async fn has_last_event(begun: &Begun, parts: &[Part], source: &mut Source) -> Result<(), Failure> {
    let Some(last) = &begun.last else { return Ok(()) };
    let Some(part) = parts.iter().find(|part| part.holds(&last.run_id)) else { return Err(not_ours("runs differs")) };
    let stored = source.page(&part.scope, part.cursor(part.from.saturating_sub(1)), 1).await?;
    let is_there =
        |event: &pb::Event| event.run_id == last.run_id && event.seq == last.seq && event.event_id == last.event_id;
    if stored.iter().all(is_there) {
        Ok(())
    } else {
        Err(not_ours("the store has another event in place of its last one"))
    }
}

/// Recognises the first event of each run in the export, after those of a resumed file.
fn first_of_runs(header: &Header, begun: Option<&Begun>) -> FirstOfRuns {
    let has_removals = header.after > 0 || header.runs.iter().flatten().any(|bound| bound.after > 0);
    FirstOfRuns::after(begun.into_iter().flat_map(|begun| begun.run_ends.keys().cloned()), has_removals)
}

/// Copies the events of a part.
async fn copy(
    source: &mut Source,
    output: &mut Output,
    bar: &ProgressBar,
    part: &Part,
    first_of_runs: &mut FirstOfRuns,
) -> Result<(), Failure> {
    let mut at = part.from;
    while at < part.until {
        let events = source.page(&part.scope, part.cursor(at), part.until - at).await?;
        let are_first: Vec<bool> = events.iter().map(|event| first_of_runs.take(&event.run_id, event.seq)).collect();
        let first = events.iter().zip(&are_first).filter(|(_, is_first)| **is_first);
        let mut runs = source.runs(first.map(|(event, _)| event.run_id.clone()).collect()).await?.into_iter();
        for (event, is_first) in events.iter().zip(are_first) {
            let run = if is_first { runs.next() } else { None };
            output.event(&line::event(event, run.as_ref())?, is_first)?;
        }
        at += events.len() as u64;
        bar.set_position(output.tally().events());
        bar.set_message(format!("{} events", grouped(output.tally().events())));
    }
    Ok(())
}

/// Header of a new export, which ends at the present end of the feed or of each chosen run.
async fn header(runs: &[String], source: &Source, end: &FeedCursor) -> Result<Header, Failure> {
    let project = source.project().await?.filter(|project| project != ProjectId::DEFAULT);
    let new = Header { runlog_export: VERSION, project, feed: feed_name(end.feed), after: 0, until: None, runs: None };
    if runs.is_empty() {
        return Ok(Header { after: source.before_feed(end).await?, until: Some(end.to_string()), ..new });
    }
    let mut bounds: Vec<Bound> = Vec::new();
    for run_id in runs {
        if bounds.iter().all(|bound| bound.run_id != *run_id) {
            bounds.push(source.bound(run_id).await?);
        }
    }
    Ok(Header { runs: Some(bounds), ..new })
}

/// Checks that the header of a resumed file names the same feed and the same runs.
fn same(header: Header, feed: FeedId, runs: &[String]) -> Result<Header, Failure> {
    if header.feed != feed_name(feed) {
        return Err(not_ours("feed differs"));
    }
    let of_file: Vec<&String> = header.runs.iter().flatten().map(|bound| &bound.run_id).collect();
    let are_same = runs.iter().all(|run| of_file.contains(&run)) && of_file.iter().all(|run| runs.contains(run));
    if !runs.is_empty() && !are_same {
        return Err(not_ours("runs differs"));
    }
    Ok(header)
}

fn feed_name(feed: FeedId) -> String {
    format!("{:08x}", feed.0)
}

fn not_ours(problem: &str) -> Failure {
    let message = format!("--resume: the file is an export of something else: {problem}");
    Failure::new(Exit::Conflict, message).hint("export into a new file")
}
