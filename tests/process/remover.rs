//! This test program as a process that publishes to a SQLite file, and expires and erases in it, without a server; and what has
//! to be true of the file afterwards.

#![allow(clippy::print_stderr, reason = "the log of the process, which the test reads")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runlog::codec::record;
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{Event, EventType, Limits, NewEvent, Payload, Removal, RunId, Scope};
use runlog::store::inspect::{CheckOptions, Verdict};
use runlog::store::sqlite::{SqliteOptions, SqliteStore, inspect};
use runlog::store::{Append, Commit, CommitListener, Range, ReadFrom, SharedStore};
use tokio::process::Command;

use crate::harness::Process;

/// The variables that make the test below a process with this work.
const FILE: &str = "RUNLOG_TEST_REMOVER_FILE";
const APPENDS: &str = "RUNLOG_TEST_REMOVER_APPENDS";

/// The runs. Retention removes everything but the newest event; the last run is held, and its events are erased one by one.
pub const RUNS: [&str; 3] = ["a", "b", "held"];

/// Appends after which an event of the held run is erased.
const ERASE_EVERY: u64 = 7;

struct Nobody;

impl CommitListener for Nobody {
    fn committed(&self, _commit: Commit) {}
}

async fn open(path: &Path) -> SharedStore {
    let options = SqliteOptions { max_unflushed_entries: 20, slice_entries: 4, ..SqliteOptions::new(path) };
    Arc::new(SqliteStore::open(options, Arc::new(Nobody)).await.unwrap())
}

/// Starts the process. It ends after this number of appends to each run, when all is removed.
pub fn start(path: &Path, appends: u64, environment: &[(&str, PathBuf)]) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["remover::works_for_the_test_that_started_it", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(FILE, path).env(APPENDS, appends.to_string());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Process::with_output(command)
}

/// The text of an event, in no other one.
fn text(run: &str, seq: u64) -> String {
    format!("{run}.{seq}.secret")
}

fn payload(run: &str, seq: u64) -> String {
    let padding = usize::try_from(seq * 613 % 5_000).unwrap();
    format!("{{\"text\":\"{}\",\"padding\":\"{}\"}}", text(run, seq), "p".repeat(padding))
}

fn run_id(run: &str) -> RunId {
    RunId::parse(run).unwrap()
}

fn event(run: &str, seq: u64) -> NewEvent {
    let event_type = EventType::parse("step").unwrap();
    let payload = Payload::parse(&event_type, payload(run, seq), &Limits::default()).unwrap();
    NewEvent::new(event_type, payload)
}

/// What the process does; a test that stands alone has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn works_for_the_test_that_started_it() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let appends: u64 = std::env::var(APPENDS).unwrap().parse().unwrap();
    let _scenario = runlog::store::failpoints::scenario();
    let store = open(Path::new(&path)).await;
    // Held before retention sees it, also after a kill in between.
    publish(Arc::clone(&store), "held", 1).await;
    store.hold(&run_id("held"), true).await.unwrap();
    let publishers: Vec<_> = RUNS.map(|run| tokio::spawn(publish(Arc::clone(&store), run, appends))).into();
    while !publishers.iter().all(tokio::task::JoinHandle::is_finished) {
        expire(&store).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    while !expire(&store).await {}
    store.close().await;
    println!("all is done");
}

async fn publish(store: SharedStore, run: &'static str, appends: u64) {
    let mut last = store.run(&run_id(run)).await.map_or(0, |run| run.last_seq);
    for n in 1..=appends {
        let events = (last + 1..=last + 1 + n % 3).map(|seq| event(run, seq)).collect();
        last = store.append(Append::new(run_id(run), events)).await.unwrap().last_seq;
        println!("stored {run} {last}");
        if run == "held" && n % ERASE_EVERY == 0 {
            let seq = last - n % 4;
            // A part that fails is made again by the same call.
            while let Err(error) = store.erase(&run_id(run), seq..=seq).await {
                eprintln!("erase: {}", error.reason());
            }
            println!("erased {run} {seq}");
        }
    }
}

/// A pass of retention; returns whether it went through.
async fn expire(store: &SharedStore) -> bool {
    let retention = Retention { default: Keep::For(Duration::from_millis(1)), ..Retention::default() };
    let mut after = 0;
    loop {
        match store.expire(&retention, Timestamp::now(), after).await {
            Ok(expired) if expired.is_done => return true,
            Ok(expired) => after = expired.examined,
            Err(error) => {
                eprintln!("expire: {}", error.reason());
                return false;
            }
        }
    }
}

/// Asserts that the file holds all that the process has said to be stored and nothing of what it has said to be erased, that what
/// is kept has no gap, and that the file is sound.
pub async fn verify(path: &Path, printed: &str) {
    let said = |word: &'static str| {
        printed.lines().filter_map(move |line| {
            let (run, seq) = line.strip_prefix(word)?.trim().split_once(' ')?;
            Some((run.to_owned(), seq.parse::<u64>().unwrap()))
        })
    };
    let erased: BTreeSet<(String, u64)> = said("erased").collect();
    let directory = path.parent().unwrap();
    for file in std::fs::read_dir(directory).unwrap() {
        let file = file.unwrap().path();
        let bytes = std::fs::read(&file).unwrap();
        let content = String::from_utf8_lossy(&bytes);
        for (run, seq) in &erased {
            assert!(!content.contains(&text(run, *seq)), "{run} {seq} is in {}", file.display());
        }
    }
    let store = open(path).await;
    for run in RUNS {
        let Ok(row) = store.run(&run_id(run)).await else { continue };
        let acked = said("stored").filter(|(of, _)| of == run).map(|(_, seq)| seq).max().unwrap_or(0);
        assert!(row.last_seq >= acked, "run {run} ends at {} and not at {acked}", row.last_seq);
        assert!(row.first_seq == 1 || !row.is_held);
        let events = kept(&store, &Scope::Run(run_id(run)), row.first_seq).await;
        assert!(events.iter().map(|event| event.seq).eq(row.first_seq..=row.last_seq), "run {run}");
        for event in &events {
            let is_erased = erased.contains(&(run.to_owned(), event.seq));
            match event.removal {
                None => assert!(!is_erased && event.payload.as_str() == payload(run, event.seq)),
                Some(Removal::Erased) => assert!(row.is_held && event.payload.as_str() == "{}"),
                other => assert!(other == Some(Removal::Expired) && !row.is_held, "{run} {}: {other:?}", event.seq),
            }
        }
    }
    let first = store.extent(&Scope::Feed).await.unwrap().first;
    kept(&store, &Scope::Feed, first).await;
    store.close().await;
    let options = CheckOptions { deep: true, max_clock_skew: Duration::from_secs(60) };
    for finding in inspect::look(path, options).await {
        assert!(matches!(finding.verdict, Verdict::Ok | Verdict::Warning), "{finding:?}");
    }
}

/// All kept events of a scope, whose offsets have no gap.
async fn kept(store: &SharedStore, scope: &Scope, first: u64) -> Vec<Event> {
    let (mut events, mut next) = (Vec::new(), first);
    loop {
        let range = Range { from: ReadFrom::After(next - 1), max_events: 100, max_bytes: 100_000 };
        let page = store.read(scope, range).await.unwrap();
        if page.chunks.is_empty() {
            assert_eq!(next, page.scope_end.last + 1, "{scope:?}");
            return events;
        }
        for (offset, bytes) in page.chunks.iter().flat_map(|chunk| chunk.records().map(Result::unwrap)) {
            assert_eq!(offset, next, "{scope:?}");
            events.push(record::decode(bytes).unwrap());
            next += 1;
        }
    }
}
