//! Promise 4, the store's part: the listener is notified of each commit once, in order, after the commit is durable.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use runlog::codec::record;
use runlog::domain::{Event, RunStatus, Scope};
use runlog::store::{Commit, CommitListener, SharedStore, Store};
use tokio::task::JoinSet;

use crate::fixture::*;

async fn busy(store: &SharedStore) {
    let mut tasks = JoinSet::new();
    for task in 0..16 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0..25 {
                let large = event(&"x".repeat((task * n * 211) % 50_000));
                let batch = vec![with_id(&format!("{task}-{n}"), large), event("b"), typed("run_start", "{}")];
                store.append(append(&format!("r{}", (task + n) % 5), batch)).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

fn decoded(chunks: &[runlog::codec::Chunk]) -> Vec<(u64, Event)> {
    let records = chunks.iter().flat_map(|chunk| chunk.records().map(Result::unwrap));
    records.map(|(at, bytes)| (at, record::decode(bytes).unwrap())).collect()
}

pub async fn the_announced_events_are_the_stored_events(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(tuning(60)).await;
    busy(&store).await;
    let stored = events(&store, &Scope::Feed).await;
    let mut announced = Vec::new();
    let mut of_runs: Vec<Event> = Vec::new();
    for commit in recorder.commits() {
        let feed = decoded(&commit.feed);
        assert_eq!(feed.last().unwrap().0, commit.feed_end.last);
        let mut in_commit = HashSet::new();
        let mut count = 0;
        for run in &commit.runs {
            assert!(in_commit.insert(run.run_id.clone()), "each run once");
            let events = decoded(&run.chunks);
            assert!(events.iter().all(|(seq, event)| event.seq == *seq && event.run_id == run.run_id));
            assert_eq!((events.last().unwrap().0, run.scope_end.status), (run.scope_end.last, RunStatus::Running));
            count += events.len();
            of_runs.extend(events.into_iter().map(|(_, event)| event));
        }
        assert_eq!(count, feed.len(), "the same events by run and in the feed");
        announced.extend(feed);
    }
    assert!(announced.iter().map(|(at, _)| *at).eq(1..=stored.len() as u64), "positions are gapless");
    assert!(announced.iter().map(|(_, event)| event).eq(&stored));
    for n in 0..5 {
        let name = run_id(&format!("r{n}"));
        let stored = events(&store, &Scope::Run(name.clone())).await;
        assert!(of_runs.iter().filter(|event| event.run_id == name).eq(&stored));
    }
}

/// Reads the store inside the notification, like a subscriber that reacts to a commit.
#[derive(Default)]
struct ReadsBack {
    store: OnceLock<Weak<dyn Store>>,
    announced: Mutex<Vec<u64>>,
}

impl CommitListener for ReadsBack {
    fn committed(&self, commit: Commit) {
        self.announced.lock().unwrap().push(commit.feed_end.last);
        let Some(store) = self.store.get().and_then(Weak::upgrade) else { return };
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for run in commit.runs {
                    let scope_end = store.extent(&Scope::Run(run.run_id)).await.unwrap().end;
                    assert_eq!(scope_end, run.scope_end, "an announced commit is durable");
                }
                assert_eq!(store.extent(&Scope::Feed).await.unwrap().end, commit.feed_end);
            });
        });
    }
}

pub async fn the_listener_is_notified_before_the_producer_and_in_order(fixture: impl Fixture) {
    let listener = Arc::new(ReadsBack::default());
    let store = fixture.store(tuning(10), listener.clone()).await;
    listener.store.set(Arc::downgrade(&store)).unwrap_or_else(|_| panic!("set once"));
    for n in 1..=40 {
        store.append(append("r", vec![event("x")])).await.unwrap();
        assert_eq!(listener.announced.lock().unwrap().last(), Some(&n), "announced before the answer");
    }
    busy(&store).await;
    assert!(listener.announced.lock().unwrap().is_sorted_by(|a, b| a < b));
}

pub async fn the_feed_has_every_event_once_in_commit_order(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(tuning(30)).await;
    busy(&store).await;
    let stored = events(&store, &Scope::Feed).await;
    assert_eq!(stored.len(), 16 * 25 * 3);
    let places: HashSet<_> = stored.iter().map(|event| (event.run_id.clone(), event.seq)).collect();
    assert_eq!(places.len(), stored.len(), "every event once");
    for n in 0..5 {
        let of_run = stored.iter().filter(|event| event.run_id == run_id(&format!("r{n}")));
        assert!(of_run.map(|event| event.seq).is_sorted_by(|a, b| a < b));
    }
    assert!(recorder.commits().is_sorted_by_key(|commit| commit.feed_end.last));
}

pub async fn positions_go_on_after_reopen(fixture: impl Fixture) {
    for (round, flush_every) in [usize::MAX, usize::MAX, 1, 1, 3].into_iter().enumerate() {
        let (store, recorder) = fixture.open(tuning(flush_every)).await;
        let before = 2 * round as u64;
        assert_eq!(store.extent(&Scope::Feed).await.unwrap().end.last, before);
        store.append(append("r", vec![event("x"), event("y")])).await.unwrap();
        assert_eq!(recorder.commits()[0].feed[0].first, before + 1);
        assert_eq!(all(&store, &Scope::Feed).await.len() as u64, before + 2);
        store.close().await;
    }
}

pub async fn nothing_is_announced_without_a_new_event(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    for _ in 0..3 {
        store.append(append("r", vec![with_id("a", event("x"))])).await.unwrap();
    }
    assert!(store.append(append("r", vec![with_id("a", event("y"))])).await.is_err());
    assert_eq!(recorder.commits().len(), 1);
}

pub async fn the_feed_id_stays(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let id = store.history().feed;
    store.close().await;
    assert_eq!(fixture.opened().await.history().feed, id);
}

/// Panics in the notification, like a defect of the listener.
struct Panics;

impl CommitListener for Panics {
    fn committed(&self, _: Commit) {
        panic!("a defect in the commit path");
    }
}

pub async fn a_task_that_ends_by_a_defect_is_noticed_and_a_close_is_none(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let mut lost = Box::pin(store.lost());
    assert!(futures_util::poll!(&mut lost).is_pending());
    store.close().await;
    assert!(futures_util::poll!(&mut lost).is_pending());
    let store = fixture.store(Tuning::default(), Arc::new(Panics)).await;
    // The event may be stored; the task that announces commits is gone.
    let _ = store.append(append("r", vec![event("x")])).await;
    let lost = tokio::time::timeout(Duration::from_secs(60), store.lost()).await;
    assert_eq!(lost.unwrap().reason(), "INTERNAL");
    assert_eq!(reason(store.ready().await), "INTERNAL");
}
