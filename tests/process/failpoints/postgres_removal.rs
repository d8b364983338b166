//! Failpoints in retention and erasure on PostgreSQL. A second process of this test program removes, so that it can end at the
//! failpoint.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use runlog::codec::record;
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{Error, Event, EventType, Limits, NewEvent, Payload, Removal, RunId, Scope};
use runlog::store::postgres::{PostgresOptions, PostgresStore};
use runlog::store::{Append, Commit, CommitListener, Range, ReadFrom, SharedStore, failpoints};

use super::place::Place;
use super::{ACTIONS, Action, POSTGRES_ERASE, POSTGRES_EXPIRE, Point, environment, was_killed};
use crate::harness::within;

/// Names the database and the work for the second process.
const DATABASE: &str = "RUNLOG_TEST_REMOVALS_OF";
const WORK: &str = "RUNLOG_TEST_REMOVALS";
const CHILD: &str = "failpoints::postgres_removal::the_second_process_removes";

/// Events of each run: several transactions of a removal.
const EVENTS: u64 = 1_200;

struct Silent;

impl CommitListener for Silent {
    fn committed(&self, _: Commit) {}
}

async fn opened(url: &str) -> SharedStore {
    let options = PostgresOptions { pool_size: 2, ..PostgresOptions::new(url) };
    Arc::new(PostgresStore::open(options, Arc::new(Silent)).await.unwrap())
}

fn run_id(text: &str) -> RunId {
    RunId::parse(text).unwrap()
}

fn event(text: &str) -> NewEvent {
    let event_type = EventType::parse("step").unwrap();
    let payload = Payload::parse(&event_type, format!("{{\"text\":\"{text}\"}}"), &Limits::default()).unwrap();
    NewEvent::new(event_type, payload)
}

/// Removes everything that it may, once or again after a failure that leaves it open.
async fn remove(store: &SharedStore, work: &str) {
    let mut after = 0;
    loop {
        let outcome = match work {
            "erase" => store.erase(&run_id("r"), 1..=EVENTS).await.map(|erased| (erased, true)),
            _ => {
                let day = Keep::For(Duration::from_secs(86_400));
                let retention = Retention { default: day, ..Retention::default() };
                let slice = store.expire(&retention, Timestamp::now() + 48.hours(), after).await;
                slice.map(|slice| {
                    after = slice.examined;
                    (slice.events, slice.is_done)
                })
            }
        };
        match outcome {
            Ok((_, true)) => return,
            Ok(_) | Err(Error::OutcomeUnknown) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
#[ignore = "the process that the test below starts"]
async fn the_second_process_removes() {
    let (Ok(url), Ok(work)) = (std::env::var(DATABASE), std::env::var(WORK)) else { return };
    let _scenario = failpoints::scenario();
    let store = opened(&url).await;
    remove(&store, &work).await;
    store.close().await;
}

/// All events of a scope from its first one on. Asserts that there is no gap.
async fn events(store: &SharedStore, scope: &Scope) -> Vec<Event> {
    let mut next = store.extent(scope).await.unwrap().first;
    let mut events = Vec::new();
    loop {
        let range = Range { from: ReadFrom::After(next - 1), max_events: 500, max_bytes: 1 << 20 };
        let page = store.read(scope, range).await.unwrap();
        if page.chunks.is_empty() {
            assert_eq!(next, page.scope_end.last + 1);
            return events;
        }
        for chunk in page.chunks {
            assert_eq!(chunk.first, next);
            next += u64::from(chunk.count);
            events.extend(chunk.records().map(|record| record::decode(record.unwrap().1).unwrap()));
        }
    }
}

/// Every event is as it was sent, or without its payload; acknowledged ones are there unless retention has removed them.
async fn verify(store: &SharedStore, removal: Removal) {
    for name in ["r", "s"] {
        let run = store.run(&run_id(name)).await.unwrap();
        assert_eq!(run.last_seq, EVENTS);
        let of_run = events(store, &Scope::Run(run_id(name))).await;
        assert_eq!(of_run.len() as u64, EVENTS + 1 - run.first_seq);
        assert!(removal == Removal::Expired || run.first_seq == 1);
        for event in of_run {
            match event.removal {
                Some(of) => assert_eq!((of, event.payload.as_str()), (removal, Removal::PAYLOAD)),
                None => assert_eq!(event.payload.as_str(), format!("{{\"text\":\"{name} {}\"}}", event.seq)),
            }
        }
    }
    events(store, &Scope::Feed).await;
}

async fn hold_at(points: &[Point], work: &str, removal: Removal) {
    for (point, action, passed) in points
        .iter()
        .flat_map(|point| ACTIONS.into_iter().flat_map(move |action| [0, 1].map(|passed| (point, action, passed))))
    {
        // One answer ends an erasure, and the points behind the transactions are passed once.
        let passed = if point.name.ends_with("erase-after") { 0 } else { passed };
        let Some(place) = Place::database().await else { return };
        let url = place.option()[1].to_owned();
        let store = opened(&url).await;
        for seq in (1..=EVENTS).step_by(100) {
            for name in ["r", "s"] {
                let batch = (seq..seq + 100).map(|seq| event(&format!("{name} {seq}"))).collect();
                store.append(Append::new(run_id(name), batch)).await.unwrap();
            }
        }
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", CHILD, "--include-ignored"]).env(DATABASE, &url).env(WORK, work);
        child.envs(environment(point, action, passed)).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let status = within("the end of the second process", child.status()).await.unwrap();
        match action {
            Action::Kill => assert!(was_killed(status), "{}: {status}", point.name),
            Action::Fail => assert!(status.success(), "{}: {status}", point.name),
        }
        verify(&store, removal).await;
        remove(&store, work).await;
        verify(&store, removal).await;
        let left = events(&store, &Scope::Feed).await.iter().filter(|event| event.removal.is_none()).count() as u64;
        assert_eq!(left, if work == "erase" { EVENTS } else { 0 });
        let next = store.append(Append::new(run_id("r"), vec![event("later")])).await.unwrap();
        assert_eq!(next.last_seq, EVENTS + 1);
        store.close().await;
        place.is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_retention_on_postgresql() {
    hold_at(POSTGRES_EXPIRE, "expire", Removal::Expired).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_an_erasure_on_postgresql() {
    hold_at(POSTGRES_ERASE, "erase", Removal::Erased).await;
}
