//! Failpoints in retention and erasure on SQLite.

use super::{ACTIONS, Action, Point, SQLITE_ERASE, SQLITE_EXPIRE, SQLITE_VACUUM, environment, was_killed};
use crate::harness::Data;
use crate::remover;

/// Appends to each run, enough for several slices of retention and several erasures.
const APPENDS: u64 = 30;

/// `is_seen`: whether a failure is an error of a call.
async fn hold_at(points: &[Point], is_seen: bool) {
    for (point, action) in points.iter().flat_map(|point| ACTIONS.map(|action| (point, action))) {
        let data = Data::new();
        let process = remover::start(&data.file(), APPENDS, &environment(point, action, 1));
        let said = process.output_at_end().await;
        let (status, log) = process.ended().await;
        match action {
            Action::Kill => assert!(was_killed(status), "{}: {status}: {log}", point.name),
            Action::Fail => {
                assert!(status.success() && said.contains("all is done"), "{}: {status}: {log}", point.name);
                let has_error = log.lines().any(|line| line.contains("expire:") || line.contains("erase:"));
                assert_eq!(has_error, is_seen, "{log}");
            }
        }
        remover::verify(&data.file(), &said).await;
        let process = remover::start(&data.file(), APPENDS, &[]);
        let after = process.output_at_end().await;
        let (status, log) = process.ended().await;
        assert!(status.success() && after.contains("all is done"), "{status}: {log}");
        remover::verify(&data.file(), &(said + &after)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_retention_on_sqlite() {
    hold_at(SQLITE_EXPIRE, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_promises_hold_at_each_point_of_an_erasure_on_sqlite() {
    hold_at(SQLITE_ERASE, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_or_a_failure_inside_the_rewrite_of_the_file_after_an_erasure_harms_nothing() {
    hold_at(SQLITE_VACUUM, false).await;
}
