//! The write-ahead log's way into the database, and its bound.
//!
//! SQLite would do it within a commit, which waits for thousands of pages then. Here a task with a connection of its own
//! moves what was written so far, beside the commits. What comes meanwhile is little; the writer moves that itself between
//! two commits, and the log is moved whole, so that SQLite begins it anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::backoff::Backoff;

/// The file of the log. SQLite names it after the file that a link leads to.
pub fn path_of(database: &Path) -> PathBuf {
    let mut path = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into_os_string();
    path.push("-wal");
    path.into()
}

/// What the task is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To move what can be moved without waiting for anybody.
    Checkpoint,
    /// To move all that is in a log that no name leads to.
    Rescue,
}

/// Bytes of commits after which the task moves what there is.
const MOVED_AT_ONCE_BYTES: usize = 4 << 20;

/// Bytes of the log after which the writer moves the rest.
const LONG_BYTES: i64 = 16 << 20;

/// Bytes of the log after which it is made to begin anew. SQLite does it by itself when no reader is in the log. Where
/// one reader always overlaps the next that never happens, and the log would grow for ever; so the writer waits until
/// those who are in it have left, which is a page's time: who comes while it waits reads the database itself.
const MAX_BYTES: i64 = 64 << 20;

/// How long it waits for that, milliseconds, and how long for anything else. A reader of another program may hold its transaction
/// for hours: then commits continue, the log grows, and it is tried again after a pause.
const RESTART_PATIENCE_MS: u32 = 100;
const USUAL_PATIENCE_MS: u32 = 5_000;

/// While the task moves.
const MOVING: i64 = -1;

/// The writer's end. Dropping it stops the task.
pub struct Checkpointer {
    due: mpsc::Sender<Request>,
    task: JoinHandle<()>,
    /// Bytes of the log when it was moved last, or [`MOVING`].
    length: Arc<AtomicI64>,
    page_bytes: i64,
    written_bytes: usize,
    backoff: Backoff,
}

impl Checkpointer {
    /// Starts the task.
    pub async fn start(mut connection: SqliteConnection) -> sqlx::Result<Self> {
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
                let moved = move_pages(&mut connection, page_bytes).await.inspect_err(|error| {
                    tracing::debug!(%error, "moving the write-ahead log failed");
                });
                // After a failure the writer tries: its own error is the one that counts.
                shared.store(moved.unwrap_or(LONG_BYTES), Ordering::Release);
            }
            let _ = connection.close().await;
        });
        Ok(Self { due, task, length, page_bytes, written_bytes: 0, backoff: Backoff::new("checkpoint") })
    }

    /// Where the task is asked.
    pub fn requests(&self) -> mpsc::Sender<Request> {
        self.due.clone()
    }

    /// So many bytes were committed, about.
    pub fn written(&mut self, bytes: usize) {
        self.written_bytes += bytes;
        if self.written_bytes >= MOVED_AT_ONCE_BYTES && self.length.load(Ordering::Acquire) != MOVING {
            self.written_bytes = 0;
            self.length.store(MOVING, Ordering::Release);
            // There is room: the task has taken the one before.
            let _ = self.due.try_send(Request::Checkpoint);
        }
    }

    /// Between two commits: keeps the log within its bound.
    pub async fn bound(&mut self, writer: &mut SqliteConnection) {
        let length = self.length.load(Ordering::Acquire);
        if length < LONG_BYTES && length != MOVING && self.backoff.is_outage() {
            // The task succeeded where the writer had failed.
            self.backoff.record(&Ok::<_, NotMoved>(()));
        }
        if length < LONG_BYTES || !self.backoff.allows() {
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

/// Why the log is longer than its bound.
#[derive(Debug, thiserror::Error)]
enum NotMoved {
    #[error(transparent)]
    Failed(#[from] sqlx::Error),
    #[error(
        "another program has had a read transaction open for long; the write-ahead log has {bytes} bytes and grows"
    )]
    Held { bytes: i64 },
}

/// Makes the next commit start the log from its beginning. Returns whether those who are in it left in time.
async fn restart(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    set_patience(connection, RESTART_PATIENCE_MS).await?;
    let restarted: sqlx::Result<(bool, i64, i64)> =
        sqlx::query_as("PRAGMA wal_checkpoint(RESTART)").fetch_one(&mut *connection).await;
    set_patience(connection, USUAL_PATIENCE_MS).await?;
    restarted.map(|(is_busy, ..)| !is_busy)
}

async fn set_patience(connection: &mut SqliteConnection, milliseconds: u32) -> sqlx::Result<()> {
    let set = format!("PRAGMA busy_timeout = {milliseconds}");
    sqlx::query(sqlx::AssertSqlSafe(set)).execute(connection).await.map(drop)
}

/// Moves all, and waits for those who read and write.
async fn rescue(connection: &mut SqliteConnection) {
    let moved: sqlx::Result<(bool, i64, i64)> =
        sqlx::query_as("PRAGMA wal_checkpoint(FULL)").fetch_one(connection).await;
    match moved {
        Ok((false, ..)) => tracing::warn!("what the lost write-ahead log held was moved into the database file"),
        failed => {
            tracing::error!(?failed, "what the lost write-ahead log held could not be moved into the database file")
        }
    }
}

/// Moves what can be moved without waiting for anybody; returns how long the log is.
async fn move_pages(connection: &mut SqliteConnection, page_bytes: i64) -> sqlx::Result<i64> {
    failpoint!("sqlite-checkpoint-before", std::convert::identity);
    let (_, pages, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    failpoint!("sqlite-checkpoint-after", std::convert::identity);
    Ok(pages * page_bytes)
}
