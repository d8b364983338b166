//! Options of the connections to the file.

use std::path::Path;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};

/// Page size of new files. SQLite makes two system calls for each page of a commit, and as many when a checkpoint moves
/// the page: 8 KiB pages need half the calls of SQLite's default of 4 KiB. With 16 KiB pages a small commit writes more
/// bytes than the saved calls are worth.
const PAGE_BYTES: u32 = 8 << 10;

/// Bytes of the write-ahead log file that a reset keeps (`journal_size_limit`): later commits overwrite them and need
/// not extend the file.
const WAL_KEEP_BYTES: &str = "67108864";

/// Options of the connection that writes, and of the readers.
pub fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Promise of durability: COMMIT returns after the fsync, and the producer is answered after COMMIT.
        .synchronous(SqliteSynchronous::Full)
        // For new files only; an existing file keeps its page size.
        .page_size(PAGE_BYTES)
        // No checkpoints within commits: see `maintenance::checkpointer`.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", WAL_KEEP_BYTES)
        .pragma("cache_size", "-32768")
        // An answered question and a replaced output leave no text behind, which an erasure could not find.
        .pragma("secure_delete", "ON")
        .foreign_keys(false)
        .disable_statement_logging()
}

/// Options for connections of maintenance: commits without fsync (`synchronous = NORMAL`). A power loss may drop the
/// newest maintenance transactions, never one from the middle, and the next start redoes them from the log. Commits of
/// events have a connection with fsync (`synchronous = FULL`).
pub fn maintenance_options(connect: &SqliteConnectOptions) -> SqliteConnectOptions {
    // It deletes hashes of ids only.
    without_sync(connect).pragma("secure_delete", "OFF")
}

/// The same connection, but with commits without fsync.
pub fn without_sync(connect: &SqliteConnectOptions) -> SqliteConnectOptions {
    connect.clone().synchronous(SqliteSynchronous::Normal)
}
