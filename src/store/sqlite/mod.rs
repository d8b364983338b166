//! The store in one SQLite file, owned by one process.
//!
//! | file | what |
//! |---|---|
//! | `open` | lock, connect, migrate, rebuild what lives in memory |
//! | `committer` | the one writer: takes what waits, commits it, tells of it |
//! | `plan` | which events get which seqs, without I/O |
//! | `known` | which stored events a group of appends repeats |
//! | `heads`, `ids`, `tail` | what the writer keeps in memory: runs, ids, and the end of the log that no index covers yet |
//! | `seal` | moves that end into the indexes |
//! | `read`, `runs`, `find` | the readers' side |

mod committer;
mod error;
mod find;
mod heads;
mod ids;
mod known;
mod open;
mod plan;
mod read;
mod runs;
mod seal;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::domain::projection::Lifecycle;
use crate::domain::{Error, Event, EventId, FeedId, NewEvent, Result, Run, RunId, RunStatus, Scope};

use super::{Append, Page, Range, Receipt, RunQuery, RunsPage, Store, Tip};
use committer::Request;
use ids::RecentIds;
pub use open::OpenError;
use tail::Tail;

/// How a SQLite store works. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file; made if missing.
    pub path: std::path::PathBuf,
    /// What to do with events after the end of a run.
    pub lifecycle: Lifecycle,
    /// Most events in one commit.
    pub max_commit_events: usize,
    /// Payload bytes after which a commit takes no further request.
    pub max_commit_bytes: usize,
    /// Most events that wait for the committer.
    pub queue_events: usize,
    /// Most payload bytes that wait for the committer.
    pub queue_bytes: usize,
    /// How long a publish waits for room in the queue.
    pub queue_wait: Duration,
    /// Connections for readers.
    pub read_connections: u32,
    /// Entries of the log's end that may stay out of the indexes.
    pub max_unsealed_entries: usize,
}

impl SqliteOptions {
    /// The defaults, for a store at this path.
    #[must_use]
    pub fn new(path: impl Into<std::path::PathBuf>) -> Self {
        Self {
            path: path.into(),
            lifecycle: Lifecycle::Record,
            max_commit_events: 4_096,
            max_commit_bytes: 4 << 20,
            queue_events: 65_536,
            queue_bytes: 64 << 20,
            queue_wait: Duration::from_secs(5),
            read_connections: 4,
            max_unsealed_entries: 16_384,
        }
    }
}

/// The store. Make it with [`SqliteStore::open`].
pub struct SqliteStore {
    queue: mpsc::Sender<Request>,
    queue_bytes: Arc<Semaphore>,
    options: SqliteOptions,
    readers: SqlitePool,
    tail: Arc<Tail>,
    recent_ids: Arc<RecentIds>,
    feed_id: FeedId,
    committer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    closing: tokio_util::sync::CancellationToken,
}

#[async_trait]
impl Store for SqliteStore {
    async fn submit(&self, append: Append) -> Result<Receipt> {
        assert!(!append.events.is_empty(), "an append holds at least one event");
        let bytes = append.events.iter().map(weight).sum();
        let room = tokio::time::timeout(self.options.queue_wait, self.room(&append)).await;
        let (permit, slot) = room.map_err(|_| Error::Overloaded {
            what: "the publish queue is full",
            retry_after: self.options.queue_wait.max(Duration::from_secs(1)),
        })??;
        let (reply, receipt) = Receipt::new();
        slot.send(Request { append, bytes, reply, _queue_bytes: permit });
        Ok(receipt)
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        match scope {
            Scope::Run(run_id) => read::run_page(&self.readers, &self.tail, run_id, range).await,
            Scope::Feed => read::feed_page(&self.readers, &self.tail, range).await,
        }
    }

    async fn tip(&self, scope: &Scope) -> Result<Tip> {
        match scope {
            Scope::Run(run_id) => {
                let mut reader = self.readers.acquire().await.map_err(error::from_sqlx)?;
                Ok(runs::tip(&mut reader, &self.tail, run_id).await?.1)
            }
            Scope::Feed => Ok(Tip { last: self.tail.last_position(), status: RunStatus::Unspecified }),
        }
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        runs::one(&self.readers, &self.tail, run_id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        runs::list(&self.readers, &self.tail, query).await
    }

    async fn count_runs(&self, query: &RunQuery) -> Result<u64> {
        runs::count(&self.readers, query).await
    }

    async fn runs_at(&self, query: &RunQuery, offset: u64) -> Result<Vec<Run>> {
        runs::at(&self.readers, &self.tail, query, offset).await
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        find::event(&self.readers, &self.tail, &self.recent_ids, run_id, event_id).await
    }

    fn feed_id(&self) -> FeedId {
        self.feed_id
    }

    async fn ready(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.readers).await.map_err(error::from_sqlx)?;
        if self.queue.is_closed() { Err(self.gone()) } else { Ok(()) }
    }

    async fn close(&self) {
        self.closing.cancel();
        let mut committer = self.committer.lock().await;
        // Taken out only after its end, so that a close that was given up can be called again.
        if let Some(running) = committer.as_mut() {
            if let Err(cause) = running.await {
                tracing::error!(%cause, "the committer did not end cleanly");
            }
            *committer = None;
        }
        self.readers.close().await;
    }
}

impl SqliteStore {
    /// Waits for room in the queue: bytes first, then a place.
    async fn room(&self, append: &Append) -> Result<(OwnedSemaphorePermit, mpsc::Permit<'_, Request>)> {
        // An event takes its share of the places too, so that one semaphore holds the queue to both bounds.
        let share = self.options.queue_bytes / self.options.queue_events.max(1);
        let weight = append.events.iter().map(|event| weight(event).max(share)).sum::<usize>();
        let weight = u32::try_from(weight.min(self.options.queue_bytes)).unwrap_or(u32::MAX);
        let room = async {
            let permit = Arc::clone(&self.queue_bytes).acquire_many_owned(weight).await.map_err(|_| self.gone())?;
            Ok((permit, self.queue.reserve().await.map_err(|_| self.gone())?))
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(Error::ShuttingDown),
            room = room => room,
        }
    }

    /// Why there is no committer.
    fn gone(&self) -> Error {
        if self.closing.is_cancelled() { Error::ShuttingDown } else { Error::StoreUnavailable }
    }
}

/// Bytes that an event takes in memory, about.
fn weight(event: &NewEvent) -> usize {
    event.payload.as_str().len() + 256
}
