//! Failpoints in publishing, and in the maintenance between commits.

use std::collections::BTreeSet;

use tonic::Code;

use super::place::Place;
use super::work::{Work, follow};
use super::{
    ACTIONS, Action, POSTGRES_COMMIT, Point, SQLITE_CHECKPOINT, SQLITE_COMMIT, SQLITE_FLUSH, SQLITE_MERGE,
    SQLITE_REFRESH, environment, passed, was_killed,
};
use crate::client::{event, publish};
use crate::harness::{Server, eventually, within};
use crate::ledger::END;
use crate::rng::Rng;

/// The process ends at the failpoint; a new process continues the work.
async fn is_killed(place: &Place, point: &Point, passed: u64) -> (Work, Server) {
    let mut work = Work::new();
    let server = place.serve(&environment(point, Action::Kill, passed)).await;
    assert_eq!(work.publish(&server).await, None, "{} is reached", point.name);
    let (status, log) = server.ended().await;
    assert!(was_killed(status), "{status}: {log}");
    let server = place.serve(&[]).await;
    work.verify(&server).await;
    assert_eq!(work.publish(&server).await, Some(BTreeSet::new()), "nothing is refused");
    (work, server)
}

/// The step fails, and the same process goes on.
async fn fails(place: &Place, point: &Point, passed: u64) -> (Work, Server) {
    let mut work = Work::new();
    let server = place.serve(&environment(point, Action::Fail, passed)).await;
    let reader = follow(&server).await;
    let reasons = work.publish(&server).await.expect("the server goes on");
    assert_eq!(reasons, point.reasons.iter().map(|reason| (*reason).to_owned()).collect(), "{}", point.name);
    assert!(server.log().contains(point.name), "{} is reached", point.name);
    if point.is_maintenance {
        let mut events = server.events().await;
        eventually("maintenance behind a later commit", async || {
            // The unflushed end of the log may grow to its limit; later publishes are refused meanwhile.
            match events.publish(publish("later", vec![event("", "step", "{}")])).await {
                Ok(_) => {}
                Err(refused) => assert_eq!(refused.code(), Code::Unavailable, "{refused:?}"),
            }
            server.log().contains("maintenance of the store works again")
        })
        .await;
    }
    let last = within("the end of the run", reader).await.unwrap();
    // One event may come after the end of the run.
    assert!([END, END + 1].contains(&last), "{last} of {END} events were followed");
    (work, server)
}

async fn hold_at(points: &[Point], place: impl AsyncFn() -> Option<Place>) {
    let mut chance = Rng::new(points[0].name);
    for (point, action) in points.iter().flat_map(|point| ACTIONS.map(|action| (point, action))) {
        let Some(place) = place().await else { return };
        let passed = passed(&mut chance, point);
        let (mut work, server) = match action {
            Action::Kill => is_killed(&place, point, passed).await,
            Action::Fail => fails(&place, point, passed).await,
        };
        work.verify(&server).await;
        work.repeat(&server).await;
        server.kill().await;
        let server = place.serve(&[]).await;
        work.verify(&server).await;
        work.repeat(&server).await;
        server.kill().await;
        place.is_sound().await;
    }
}

async fn hold_on_sqlite(points: &[Point]) {
    hold_at(points, async || Some(Place::file())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_a_commit_on_sqlite() {
    hold_on_sqlite(SQLITE_COMMIT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_what_follows_on_a_failed_commit_on_sqlite() {
    hold_on_sqlite(SQLITE_REFRESH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_a_flush() {
    hold_on_sqlite(SQLITE_FLUSH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_a_merge() {
    hold_on_sqlite(SQLITE_MERGE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_a_checkpoint() {
    hold_on_sqlite(SQLITE_CHECKPOINT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_a_commit_on_postgresql() {
    hold_at(POSTGRES_COMMIT, Place::database).await;
}
