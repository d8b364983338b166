//! Checkpoints: moves the write-ahead log into the database file and limits the length of the log.
//!
//! SQLite's automatic checkpoint runs within a commit, which then waits for thousands of pages. Here a task with a
//! connection of its own checkpoints beside the commits. Pages written meanwhile are few; the writer checkpoints these
//! between two commits, so that the whole log is moved and SQLite restarts the log from its beginning.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::log_hold::LogHold;
use crate::store::sqlite::error::{BUSY, primary_code};

/// Path of the write-ahead log. SQLite resolves symbolic links before naming the log.
pub fn path_of(database: &Path) -> PathBuf {
    let mut path = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into_os_string();
    path.push("-wal");
    path.into()
}

/// Request to the checkpoint task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Checkpoint without waiting for readers or writers (PASSIVE).
    Checkpoint,
    /// Move the whole content of a log whose name is gone (FULL).
    Rescue,
}

/// Bytes of commits after which the task runs a checkpoint.
const MOVED_AT_ONCE_BYTES: usize = 4 << 20;

/// Bytes of the log from which the writer completes the checkpoint.
const LONG_BYTES: i64 = 16 << 20;

/// Bytes of the log from which a restart of the log is forced. SQLite restarts the log by itself when no reader uses
/// the log. With overlapping readers that never happens and the log would grow without end. So the writer waits until
/// the present readers are done, which takes the time of one page; readers that arrive meanwhile read the database
/// file.
const MAX_BYTES: i64 = 64 << 20;

/// Busy timeout of a forced restart, and of all other statements, in milliseconds. A reader in another program may keep
/// its transaction for hours: then commits continue, the log grows, and the restart is retried after a pause.
const RESTART_TIMEOUT_MS: u32 = 100;
const BUSY_TIMEOUT_MS: u32 = 5_000;

/// Value of `length` while the task runs a checkpoint.
const MOVING: i64 = -1;

/// The writer's handle of the checkpoint task. The task ends once this handle and all senders from
/// [`requests`](Self::requests) are dropped.
pub struct Checkpointer {
    due: mpsc::Sender<Request>,
    task: JoinHandle<()>,
    /// Whether this store checkpoints, and not another program.
    is_on: bool,
    /// Bytes of the log at the last checkpoint, or [`MOVING`].
    length: Arc<AtomicI64>,
    page_bytes: i64,
    written_bytes: usize,
    hold: LogHold,
    backoff: Backoff,
}

impl Checkpointer {
    /// Starts the task. Where another program copies the log and checkpoints, `is_on` is false: after a checkpoint SQLite
    /// overwrites the log, also what that program has not copied.
    pub async fn start(mut connection: SqliteConnection, is_on: bool, hold: LogHold) -> sqlx::Result<Self> {
        let page_bytes = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut connection).await?;
        let (due, mut next) = mpsc::channel(1);
        let length = Arc::new(AtomicI64::new(0));
        let shared = Arc::clone(&length);
        let task = tokio::spawn(async move {
            while let Some(request) = next.recv().await {
                if request == Request::Rescue {
                    rescue(&mut connection).await;
                    continue;
                }
                if !is_on {
                    continue;
                }
                let moved = move_pages(&mut connection, page_bytes).await.inspect_err(|error| {
                    tracing::debug!(%error, "moving the write-ahead log failed");
                });
                // After a failure the writer retries; only the writer's error counts for the backoff.
                shared.store(moved.unwrap_or(LONG_BYTES), Ordering::Release);
            }
            let _ = connection.close().await;
        });
        Ok(Self { due, task, is_on, length, page_bytes, written_bytes: 0, hold, backoff: Backoff::new("checkpoint") })
    }

    /// Sender of requests to the task.
    pub fn requests(&self) -> mpsc::Sender<Request> {
        self.due.clone()
    }

    /// Counts bytes of a commit (an estimate) and requests a checkpoint when due.
    pub fn written(&mut self, bytes: usize) {
        self.written_bytes += bytes;
        if self.is_on && self.written_bytes >= MOVED_AT_ONCE_BYTES && self.length.load(Ordering::Acquire) != MOVING {
            self.written_bytes = 0;
            self.length.store(MOVING, Ordering::Release);
            // The channel has room: the task has taken the previous request.
            let _ = self.due.try_send(Request::Checkpoint);
        }
    }

    /// Called between two commits: limits the length of the log.
    pub async fn bound(&mut self, writer: &mut SqliteConnection) {
        let length = self.length.load(Ordering::Acquire);
        if length < LONG_BYTES && length != MOVING && self.backoff.is_outage() {
            // The task succeeded after a failure of the writer.
            self.backoff.record(&Ok::<_, NotMoved>(()));
        }
        if length < LONG_BYTES || self.hold.is_held() || !self.backoff.allows() {
            return;
        }
        let moved = self.move_rest(writer).await;
        self.backoff.record(&moved);
    }

    async fn move_rest(&mut self, writer: &mut SqliteConnection) -> Result<(), NotMoved> {
        let bytes = move_pages(writer, self.page_bytes).await?;
        if bytes > MAX_BYTES && !restart(writer).await? {
            return Err(NotMoved::Held { bytes });
        }
        self.length.store(0, Ordering::Release);
        Ok(())
    }

    /// Stops the task and waits for its end.
    pub async fn stop(self) {
        drop(self.due);
        if let Err(cause) = self.task.await {
            tracing::error!(%cause, "the task that moves the write-ahead log did not end cleanly");
        }
    }
}

/// Reason for a log longer than its limit.
#[derive(Debug, thiserror::Error)]
enum NotMoved {
    #[error(transparent)]
    Failed(#[from] sqlx::Error),
    #[error(
        "another program has had a read transaction open for long; the write-ahead log has {bytes} bytes and grows"
    )]
    Held { bytes: i64 },
}

/// Result of `PRAGMA wal_checkpoint`, with the column names of SQLite.
#[derive(Debug, sqlx::FromRow)]
struct WalCheckpoint {
    /// Whether a reader or a writer blocked the checkpoint.
    busy: bool,
    /// Pages in the log.
    log: i64,
    /// Pages of the log that the database file has.
    checkpointed: i64,
}

/// Lets the next commit restart the log from its beginning. Returns whether all readers of the log finished in time.
async fn restart(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    set_busy_timeout(connection, RESTART_TIMEOUT_MS).await?;
    let restarted: sqlx::Result<WalCheckpoint> =
        sqlx::query_as("PRAGMA wal_checkpoint(RESTART)").fetch_one(&mut *connection).await;
    set_busy_timeout(connection, BUSY_TIMEOUT_MS).await?;
    restarted.map(|result| !result.busy)
}

/// Moves the whole log and empties its file. Returns whether all readers of the log finished in time.
pub async fn truncate(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    set_busy_timeout(connection, RESTART_TIMEOUT_MS).await?;
    let emptied: sqlx::Result<WalCheckpoint> =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
    set_busy_timeout(connection, BUSY_TIMEOUT_MS).await?;
    match emptied {
        Ok(result) => Ok(!result.busy),
        // Another connection is at a checkpoint.
        Err(error) if primary_code(&error) == Some(BUSY) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn set_busy_timeout(connection: &mut SqliteConnection, milliseconds: u32) -> sqlx::Result<()> {
    let set = format!("PRAGMA busy_timeout = {milliseconds}");
    sqlx::query(sqlx::AssertSqlSafe(set)).execute(connection).await.map(drop)
}

/// Checkpoints the whole log, waiting for readers and writers.
async fn rescue(connection: &mut SqliteConnection) {
    let moved: sqlx::Result<WalCheckpoint> = sqlx::query_as("PRAGMA wal_checkpoint(FULL)").fetch_one(connection).await;
    match moved {
        Ok(WalCheckpoint { busy: false, .. }) => {
            tracing::warn!("what the lost write-ahead log held was moved into the database file")
        }
        failed => {
            tracing::error!(?failed, "what the lost write-ahead log held could not be moved into the database file")
        }
    }
}

/// Pages that are left to the writer: those of a few commits.
const CAUGHT_UP_PAGES: i64 = 256;

/// Most checkpoints in a row, and the pause after one that another checkpoint kept out.
const CATCH_UPS: usize = 20;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);

/// Moves what a backup or a rewrite of the file has left in the log, until little is left to the writer.
pub async fn catch_up(connection: &mut SqliteConnection) {
    for _ in 0..CATCH_UPS {
        let moved: sqlx::Result<WalCheckpoint> =
            sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut *connection).await;
        match moved {
            Ok(WalCheckpoint { busy: true, .. }) => tokio::time::sleep(CATCH_UP_PAUSE).await,
            Ok(result) if result.log - result.checkpointed > CAUGHT_UP_PAGES => {}
            // The writer meets the same error, and reports it.
            Ok(_) | Err(_) => return,
        }
    }
}

/// Checkpoints without waiting for readers; returns the length of the log in bytes.
async fn move_pages(connection: &mut SqliteConnection, page_bytes: i64) -> sqlx::Result<i64> {
    failpoint!("sqlite-checkpoint-before", std::convert::identity);
    let result: WalCheckpoint = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    failpoint!("sqlite-checkpoint-after", std::convert::identity);
    Ok(result.log * page_bytes)
}
