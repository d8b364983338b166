//! Failpoints: steps of a store at which a test injects an error or ends the process. Failpoints exist only in builds
//! with the feature `failpoints`; release builds have none.
//!
//! The environment variable `FAILPOINTS` sets the actions, in the syntax of the crate `fail`: with
//! `sqlite-flush-before=3*off->1*return(error)` the fourth slice of a flush fails before it begins; `return(kill)` ends
//! the process at the failpoint.

use sqlx::SqliteConnection;

/// Names of all failpoints. If a step is a transaction, `inside` lies before the COMMIT, and `after` lies between the
/// COMMIT and the update of the in-memory state.
pub const POINTS: [&str; 45] = [
    "sqlite-commit-before",
    "sqlite-commit-inside",
    "sqlite-commit-after",
    // Reload of the in-memory state from the database file after a failed commit.
    "sqlite-refresh-before",
    "sqlite-refresh-after",
    "sqlite-flush-before",
    "sqlite-flush-inside",
    // `end` lies inside the transaction of the last slice, `after` behind that transaction.
    "sqlite-flush-end",
    "sqlite-flush-after",
    // Segment of the id index, written by a flush, a compaction or the migration from schema version 1: the blocks are
    // written, the filter is not.
    "sqlite-segment-inside",
    "sqlite-merge-before",
    // In the last slice: the new segment and the segments that it replaces are all live.
    "sqlite-merge-inside",
    "sqlite-merge-after",
    "sqlite-removal-before",
    "sqlite-removal-inside",
    "sqlite-removal-after",
    "sqlite-checkpoint-before",
    "sqlite-checkpoint-after",
    // One slice of retention.
    "sqlite-expire-before",
    "sqlite-expire-inside",
    "sqlite-expire-after",
    // One part of an erasure.
    "sqlite-erase-before",
    "sqlite-erase-inside",
    "sqlite-erase-after",
    // Between some steps of the rewrite of the file after an erasure.
    "sqlite-vacuum-inside",
    "sqlite-migration-before",
    // After the statements of the migration, before the move of the ids of schema version 1.
    "sqlite-migration-inside",
    // After the move of the ids, before their old table is dropped.
    "sqlite-migration-ids-inside",
    "sqlite-migration-after",
    // The statement that writes a commit: the whole transaction on the fast path, a part of the transaction on the slow
    // path.
    "postgres-append-before",
    "postgres-append-after",
    // After the runs of a commit are locked, before any write.
    "postgres-transaction-inside",
    // COMMIT or ROLLBACK.
    "postgres-end-before",
    "postgres-end-after",
    // Lookup of an in-doubt commit.
    "postgres-doubt-before",
    "postgres-doubt-after",
    // One slice of retention, and one transaction of an erasure; `after` lies before the listener is notified.
    "postgres-expire-before",
    "postgres-expire-inside",
    "postgres-expire-after",
    "postgres-erase-before",
    "postgres-erase-inside",
    "postgres-erase-after",
    "postgres-migration-before",
    "postgres-migration-inside",
    "postgres-migration-after",
];

/// Failpoint of a backup, between some ten rows of the copy, where a test can only wait (`sleep`).
pub const BACKUP_COPYING: &str = "sqlite-backup-copying";

/// A failpoint that waits and does not fail.
pub(crate) fn slow_down(point: &str) {
    fail::fail_point!(point, |_| ());
}

/// Activates the actions of `FAILPOINTS` until the result is dropped.
#[must_use]
pub fn scenario() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// Error of a failing step; the action `kill` ends the process instead.
pub(super) fn act(point: &str, action: Option<String>) -> sqlx::Error {
    if action.as_deref() == Some("kill") {
        // Like a crash: no destructor runs, no buffer is flushed, no request is answered.
        std::process::abort();
    }
    tracing::warn!(point, "this step fails, as a test demands");
    sqlx::Error::Io(std::io::Error::other(format!("failpoint {point}")))
}

/// The failpoint `sqlite-vacuum-inside`, asked between steps of VACUUM; returns whether VACUUM fails.
pub(super) fn fails_inside_vacuum() -> bool {
    const POINT: &str = "sqlite-vacuum-inside";
    fail::eval(POINT, |action| act(POINT, action)).is_some()
}

/// Installs the failpoint `sqlite-commit-inside` as a commit hook: a failing hook makes SQLite roll back.
pub(super) async fn hook_commits(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    const POINT: &str = "sqlite-commit-inside";
    let hook = || fail::eval(POINT, |action| act(POINT, action)).is_none();
    connection.lock_handle().await?.set_commit_hook(hook);
    Ok(())
}
