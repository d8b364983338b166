//! Removal of stored events: retention of projects, erasure of events of one run, and the hold that keeps retention away.
//!
//! All of them rewrite rows of the log with the entries of these rows in the index, in short transactions beside the committer,
//! one call at a time. Only flushed rows are rewritten, since the unindexed tail holds offsets into all later ones. The work is
//! done in a task of its own: a caller that goes away cannot cut off a COMMIT. See `rewrites` for the readers.
//!
//! | file | content |
//! |---|---|
//! | `expire` | one slice of retention: reads rows, has their events judged (`store/retention`), writes what changes |
//! | `counted_bytes` | bytes of a project, for the limit by bytes |
//! | `erase`, `documents` | erasure of events of a run; the documents of the run that came from an event |
//! | `compact` | several payloads of a run replaced by one |
//! | `hold` | holds and releases a run |
//! | `row`, `changes` | a row without some of its events; what one transaction changes |
//! | `rows` | reads rows of the log, with the runs of their events |
//! | `space` | gives free pages back to the file system; empties the write-ahead log |
//! | `clear`, `vacuum` | after erasures: rewrites a small file, so that no free space of it holds a copy, and empties the log |

mod changes;
mod clear;
mod compact;
mod counted_bytes;
mod documents;
mod erase;
mod expire;
mod hold;
mod row;
mod rows;
mod space;
mod vacuum;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{Mutex, mpsc};

use crate::domain::retention::Retention;
use crate::domain::{Error, Payload, Result};
use crate::store::{CommitListener, Expired, ProjectNumber, RunKey};

use super::connect::without_sync;
use super::error::{StepError, from_sqlx, of_commit};
use super::feed_floors;
use super::index::unindexed_tail::UnindexedTail;
use super::maintenance::checkpointer::Request;
use super::maintenance::flush_requests::FlushRequests;
use super::maintenance::transaction;
use super::maintenance::wal_preallocator::LogLength;
use super::rewrites::Rewrites;
use super::watch::FileWatch;

pub use clear::Clearing;

/// Longest wait for a flush of rows that are to be rewritten.
const FLUSH_WAIT: Duration = Duration::from_secs(20);

/// Interval of repeated requests for a flush: a failed commit forgets them.
const FLUSH_REQUEST: Duration = Duration::from_millis(500);

/// The removals of a store.
pub struct Removals {
    pub watch: Arc<FileWatch>,
    pub tail: Arc<UnindexedTail>,
    pub rewrites: Arc<Rewrites>,
    pub flush_requests: Arc<FlushRequests>,
    pub listener: Arc<dyn CommitListener>,
    /// Number of held runs released since the start, of all projects.
    pub releases: AtomicU64,
    /// Number of transactions that may have removed something; 1 at the start, for those of earlier processes.
    pub removed: AtomicU64,
    /// Locked before `open`.
    pub clearing: Mutex<Clearing>,
    /// `None` after the store is closed; locked during a call.
    pub open: Mutex<Option<Open>>,
}

/// What a call needs.
pub struct Open {
    pub connect: SqliteConnectOptions,
    pub checkpoints: mpsc::Sender<Request>,
    /// Whether the write-ahead log is this program's to empty, see [`SqliteOptions`](super::SqliteOptions).
    pub has_log: bool,
    pub log_length: LogLength,
    /// Position of each feed up to which the limit by bytes has removed events, in the present pass.
    pub cut: HashMap<ProjectNumber, u64>,
    /// Connection of retention: its slices are many.
    pub of_expire: Option<SqliteConnection>,
}

impl Removals {
    /// See [`Store::expire`](crate::store::Store::expire).
    pub async fn expire(
        self: Arc<Self>,
        project: ProjectNumber,
        retention: Retention,
        now: Timestamp,
        after: u64,
    ) -> Result<Expired> {
        in_task(async move {
            let mut open = self.open.lock().await;
            let open = open.as_mut().ok_or(Error::ShuttingDown)?;
            self.watch.look_again()?;
            let mut connection = match open.of_expire.take() {
                Some(connection) => connection,
                // A power loss may undo the newest slices, and they are made again.
                None => self.connect(&without_sync(&open.connect)).await?,
            };
            let expired = self.slice(&mut connection, open, project, &retention, (now, after)).await;
            // A failed slice leaves nothing behind.
            match expired {
                Ok(_) => open.of_expire = Some(connection),
                Err(_) => drop(connection.close().await),
            }
            let _ = open.checkpoints.try_send(Request::Checkpoint);
            expired
        })
        .await
    }

    /// See [`Store::erase`](crate::store::Store::erase).
    pub async fn erase(self: Arc<Self>, key: RunKey, seqs: RangeInclusive<u64>) -> Result<u64> {
        in_task(async move {
            let (erased, has_log) = {
                let open = self.open.lock().await;
                let open = open.as_ref().ok_or(Error::ShuttingDown)?;
                let mut connection = self.connect(&open.connect).await?;
                let erased = self.erase_on(&mut connection, &key, seqs).await;
                let _ = connection.close().await;
                (erased?, open.has_log)
            };
            self.end_erasure(&key, has_log).await?;
            Ok(erased)
        })
        .await
    }

    /// See [`Store::compact`](crate::store::Store::compact).
    pub async fn compact(self: Arc<Self>, key: RunKey, removed: Vec<u64>, last: u64, payload: Payload) -> Result<bool> {
        in_task(async move {
            let open = self.open.lock().await;
            let open = open.as_ref().ok_or(Error::ShuttingDown)?;
            let mut connection = self.connect(&without_sync(&open.connect)).await?;
            let compacted = self.compact_on(&mut connection, &key, &removed, (last, &payload)).await;
            let _ = connection.close().await;
            let _ = open.checkpoints.try_send(Request::Checkpoint);
            compacted
        })
        .await
    }

    /// See [`Store::hold`](crate::store::Store::hold).
    pub async fn hold(self: Arc<Self>, key: RunKey, is_held: bool) -> Result<()> {
        in_task(async move {
            // A slice of retention that began before ends before the hold is answered.
            let open = self.open.lock().await;
            let mut connection = self.connect(&open.as_ref().ok_or(Error::ShuttingDown)?.connect).await?;
            let held = hold::hold(&mut connection, &key, is_held).await;
            let _ = connection.close().await;
            // One whose outcome is not known may have taken place.
            if !is_held && matches!(held, Ok(true) | Err(Error::OutcomeUnknown)) {
                self.releases.fetch_add(1, Relaxed);
            }
            // A commit to files that are lost may be gone.
            held.and_then(|_| self.watch.look_again().map_err(|_| Error::OutcomeUnknown))
        })
        .await
    }

    /// Refuses further calls, after a call under way. The task of checkpoints ends after this.
    pub async fn close(&self) {
        let connection = self.open.lock().await.take().and_then(|open| open.of_expire);
        if let Some(connection) = connection {
            let _ = connection.close().await;
        }
    }

    async fn connect(&self, options: &SqliteConnectOptions) -> Result<SqliteConnection> {
        self.watch.look_again()?;
        SqliteConnection::connect_with(options).await.map_err(from_sqlx)
    }

    /// Ends the transaction of a rewrite and brings the memory up to the file. `after` is the failpoint behind the COMMIT.
    async fn commit(
        &self,
        connection: &mut SqliteConnection,
        project: ProjectNumber,
        written: Result<(), StepError>,
        after: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let rewriting = self.rewrites.begin();
        let is_written = written.is_ok();
        let ended = match transaction::end(connection, written).await {
            Ok(()) => after(),
            Err(StepError::Sqlite(error)) if is_written => Err(of_commit(error)),
            Err(error) => Err(error.into_error()),
        };
        // Also after a failure: the COMMIT may have taken place.
        self.removed.fetch_add(1, Release);
        let floor = feed_floors::of(connection, project).await;
        if let Ok(floor) = &floor {
            self.rewrites.set_floor(*floor);
        }
        drop(rewriting);
        self.listener.removed(project);
        ended.and(floor.map(drop))
    }

    /// Waits until the log of the project is flushed up to this stored position; returns whether it is in time.
    async fn flushed_to(&self, project: ProjectNumber, pos: u64) -> bool {
        let mut flushed = self.tail.flushed();
        let is_flushed = |of: &std::collections::BTreeMap<ProjectNumber, u64>| of.get(&project) >= Some(&pos);
        let asking = async {
            while !is_flushed(&flushed.borrow_and_update()) {
                self.flush_requests.request();
                let _ = tokio::time::timeout(FLUSH_REQUEST, flushed.changed()).await;
            }
        };
        tokio::time::timeout(FLUSH_WAIT, asking).await.is_ok()
    }

    /// Waits until the events of a run up to this seq are flushed; returns whether they are in time.
    async fn run_flushed_to(&self, key: &RunKey, run: i64, seq: u64) -> bool {
        let last = key.project.pos(self.tail.last_position(key.project));
        self.tail.first_seq(run).is_none_or(|unflushed| unflushed > seq) || self.flushed_to(key.project, last).await
    }

    /// Stored position up to which the log of the project may be rewritten.
    fn rewritable_pos(&self, project: ProjectNumber) -> u64 {
        self.tail.flushed().borrow().get(&project).copied().unwrap_or(project.pos(0))
    }
}

/// Runs the work to its end, also if the caller goes away.
async fn in_task<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|cause| Err(Error::internal(cause)))
}
