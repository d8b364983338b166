//! Points at which a test makes a step of a store fail, or ends the process. They exist in builds with the feature
//! `failpoints` only, which the tests ask for and no build of the program has.
//!
//! `FAILPOINTS` in the environment says what happens where, in the syntax of the crate `fail`: with
//! `sqlite-flush-before=3*off->1*return(error)` the fourth slice of a flush fails before it begins; `return(kill)` ends the process
//! there.

use sqlx::SqliteConnection;

/// All points. Where a step is a transaction, `inside` is before its COMMIT and `after` behind it, when the memory of the process
/// does not follow yet.
pub const POINTS: [&str; 32] = [
    "sqlite-commit-before",
    "sqlite-commit-inside",
    "sqlite-commit-after",
    // Reading the file again after a commit that failed.
    "sqlite-refresh-before",
    "sqlite-refresh-after",
    "sqlite-flush-before",
    "sqlite-flush-inside",
    // In and after the last slice: all is indexed, and the file says so.
    "sqlite-flush-end",
    "sqlite-flush-after",
    // A segment of ids, written by a flush, a merge or the move from the first schema: it has blocks and no filter yet.
    "sqlite-segment-inside",
    "sqlite-merge-before",
    // In the last slice: the new segment is live, and so are those that it replaces.
    "sqlite-merge-inside",
    "sqlite-merge-after",
    "sqlite-removal-before",
    "sqlite-removal-inside",
    "sqlite-removal-after",
    "sqlite-checkpoint-before",
    "sqlite-checkpoint-after",
    "sqlite-migration-before",
    // The statements are done, and the ids of the first schema have not moved.
    "sqlite-migration-inside",
    // The ids have moved, and their old table is there.
    "sqlite-migration-ids-inside",
    "sqlite-migration-after",
    // The statement that writes a commit: all of it on the fast path, else within a transaction.
    "postgres-append-before",
    "postgres-append-after",
    // The runs of a commit are locked and nothing is written.
    "postgres-transaction-inside",
    // COMMIT or ROLLBACK.
    "postgres-end-before",
    "postgres-end-after",
    // Looking for a commit in doubt.
    "postgres-doubt-before",
    "postgres-doubt-after",
    "postgres-migration-before",
    "postgres-migration-inside",
    "postgres-migration-after",
];

/// Does what `FAILPOINTS` says, for as long as the result lives.
#[must_use]
pub fn scenario() -> fail::FailScenario<'static> {
    fail::FailScenario::setup()
}

/// The failure of a step, or the end of the process.
pub(super) fn act(point: &str, action: Option<String>) -> sqlx::Error {
    if action.as_deref() == Some("kill") {
        // Nothing is written, closed or answered any more.
        std::process::abort();
    }
    tracing::warn!(point, "this step fails, as a test demands");
    sqlx::Error::Io(std::io::Error::other(format!("failpoint {point}")))
}

/// `sqlite-commit-inside` in the commits of this connection: SQLite rolls back.
pub(super) async fn hook_commits(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    const POINT: &str = "sqlite-commit-inside";
    let hook = || fail::eval(POINT, |action| act(POINT, action)).is_none();
    connection.lock_handle().await?.set_commit_hook(hook);
    Ok(())
}
