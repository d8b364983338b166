//! Following other replicas' commits: a replica reads only the runs with subscribers.

use std::sync::{Arc, Mutex};

use runlog::store::postgres::{PostgresOptions, PostgresStore};
use runlog::store::{Commit, CommitListener, Interest, ProjectNumber, SharedStore};

use crate::cluster::Database;
use crate::fixture::*;

/// A listener with interest in some runs only.
struct Choosy {
    recorder: Arc<Recorder>,
    interest: Mutex<Interest>,
}

impl CommitListener for Choosy {
    fn committed(&self, commit: Commit) {
        self.recorder.committed(commit);
    }

    fn interest(&self, _: ProjectNumber) -> Interest {
        self.interest.lock().unwrap().clone()
    }
}

impl Choosy {
    fn wants(&self, interest: Interest) {
        *self.interest.lock().unwrap() = interest;
    }

    /// The announced seqs of a run.
    fn announced(&self, run: &str) -> Vec<u64> {
        let commits = self.recorder.commits();
        let of_run = commits.iter().flat_map(|commit| &commit.runs).filter(|announced| announced.run_id == run_id(run));
        of_run.flat_map(|announced| &announced.chunks).flat_map(|chunk| chunk.first..=chunk.last()).collect()
    }
}

/// A run of the project `default`.
/// A writing store, and a following store with a selective listener.
async fn two_replicas() -> Option<(Database, SharedStore, SharedStore, Arc<Choosy>)> {
    let database = Database::create().await?;
    let options = PostgresOptions { pool_size: 2, ..PostgresOptions::new(database.url()) };
    let choosy = Arc::new(Choosy { recorder: Arc::default(), interest: Mutex::new(Interest::Runs(Vec::new())) });
    let writing = PostgresStore::open(options.clone(), Arc::new(Recorder::default())).await.unwrap();
    let following = PostgresStore::open(options, choosy.clone()).await.unwrap();
    Some((database, Arc::new(writing), Arc::new(following), choosy))
}

#[tokio::test]
async fn a_replica_announces_the_followed_runs_and_the_end_of_the_feed() {
    let Some((_database, writing, _following, choosy)) = two_replicas().await else { return };
    for run in ["x", "y"] {
        writing.append(append(run, vec![event("nobody follows it")])).await.unwrap();
    }
    choosy.recorder.announced_up_to(2).await;
    assert!(choosy.recorder.commits().iter().all(|commit| commit.runs.is_empty() && commit.feed.is_empty()));
    choosy.wants(Interest::Runs(vec![run_id("x"), run_id("not-there")]));
    for run in ["x", "y", "x"] {
        writing.append(append(run, vec![event("a"), event("b")])).await.unwrap();
    }
    choosy.recorder.announced_up_to(8).await;
    assert_eq!((choosy.announced("x"), choosy.announced("y")), ((2..=5).collect(), Vec::new()));
    assert!(choosy.recorder.commits().iter().all(|commit| commit.feed.is_empty()), "a part of the feed has gaps");
    choosy.wants(Interest::All);
    writing.append(append("y", vec![event("c")])).await.unwrap();
    choosy.recorder.announced_up_to(9).await;
    assert_eq!(choosy.announced("y"), [4]);
    let last = choosy.recorder.commits().pop().unwrap();
    assert_eq!((last.feed[0].first, last.feed_end.last), (9, 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_much_that_is_followed_nothing_is_left_out() {
    let Some((_database, writing, following, choosy)) = two_replicas().await else { return };
    choosy.wants(Interest::Runs(vec![run_id("x")]));
    let held = choosy.recorder.hold(&following).await;
    // More than one read takes, by count and by bytes, with other runs in between.
    let mut last = 1;
    for (count, length) in [(5_000_u32, 10), (600, 10_000), (1, 10)] {
        for run in ["x", "y"] {
            let events = (0..count).map(|_| event(&"x".repeat(length))).collect();
            writing.append(append(run, events)).await.unwrap();
            last += u64::from(count);
        }
    }
    drop(held);
    choosy.recorder.announced_up_to(last).await;
    assert_eq!(choosy.announced("x"), (1..=5_601).collect::<Vec<_>>());
    assert!(choosy.recorder.commits().len() > 3, "it came in parts");
    assert!(choosy.announced("y").is_empty());
}
