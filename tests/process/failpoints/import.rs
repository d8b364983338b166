//! Failpoints in an import, whose steps are commits.

use super::place::Place;
use super::{ACTIONS, Action, POSTGRES_COMMIT, Point, SQLITE_COMMIT, environment, was_killed};
use crate::client::{event, publish};
use crate::harness::{Data, Server};
use crate::transfer::{body, export, import};

/// More events than one commit takes.
const EVENTS: usize = 10_000;

/// Exports a log with many interleaved runs to this file.
async fn exported(to: &std::path::Path) {
    let source = Data::new();
    let server = Server::start(&source.file()).await;
    let mut events = server.events().await;
    for (n, first) in (0..EVENTS).step_by(500).enumerate() {
        let batch = (first..first + 500).map(|n| event(&format!("e{n}"), "step", &format!("{{\"n\": {n}}}")));
        events.publish(publish(&format!("r{}", n % 4), batch.collect())).await.unwrap();
    }
    export(&["--server", &server.url()], to).await.succeeds();
    server.kill().await;
}

/// Asserts that the events after an interrupted import are a prefix of the export.
async fn is_beginning(place: &Place, whole: &str) {
    let part = Data::new();
    let file = part.directory().join("part");
    export(&place.option(), &file).await.succeeds();
    let part = body(&file);
    let (events, _trailer) = part.trim_end().rsplit_once('\n').unwrap_or_default();
    assert!(whole.starts_with(events), "what is stored is no beginning");
}

async fn hold_at(points: &[Point], place: impl AsyncFn() -> Option<Place>) {
    let directory = Data::new();
    let (source, copy) = (directory.directory().join("source"), directory.directory().join("copy"));
    exported(&source).await;
    let whole = body(&source);
    for (point, action) in points.iter().flat_map(|point| ACTIONS.map(|action| (point, action))) {
        let Some(place) = place().await else { return };
        let command = ["import", source.to_str().unwrap()];
        let (status, said) = place.spawn(&command, &environment(point, action, 1)).ended().await;
        match action {
            Action::Kill => assert!(was_killed(status), "{status}: {said}"),
            // A store that retries by itself may succeed.
            Action::Fail => assert_eq!(status.success(), point.reasons.is_empty(), "{status}: {said}"),
        }
        is_beginning(&place, &whole).await;
        import(&source, &place.option()).await.succeeds();
        export(&place.option(), &copy).await.succeeds();
        assert!(body(&copy) == whole, "after {}", point.name);
        std::fs::remove_file(&copy).unwrap();
        place.is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_to_sqlite_that_is_cut_off_in_any_commit_is_run_again_and_stores_each_event_once() {
    hold_at(SQLITE_COMMIT, async || Some(Place::file())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_to_postgresql_that_is_cut_off_in_any_commit_is_run_again_and_stores_each_event_once() {
    let reached = |point: &&Point| point.way.is_empty();
    let points: Vec<Point> = POSTGRES_COMMIT.iter().filter(reached).map(|point| Point { ..*point }).collect();
    hold_at(&points, Place::database).await;
}
