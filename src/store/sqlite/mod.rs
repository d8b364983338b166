//! The store in one SQLite file, owned by one process.
//!
//! | file | what |
//! |---|---|
//! | `open`, `memory` | lock, connect, migrate; read what lives in memory |
//! | `lock`, `watch` | one process owns the file; whether it is still there |
//! | `epochs` | which opening of the file wrote what |
//! | `schema`, `store_row`, `inspect` | whether a file can be used, at a start and for `check` and `migrate` |
//! | `committer` | the one task that writes: takes what waits, has it planned, written and answered |
//! | `planner`, `writer` | what a commit will write; writing it and telling of it |
//! | `known` | which stored events a group of appends repeats |
//! | `run_states`, `ids`, `tail` | what they keep in memory: runs, ids, and the end of the log that no index covers yet |
//! | `maintenance`, `flush` | what is done between commits: moving that end into the indexes, slice by slice |
//! | `transaction`, `backoff` | the transactions of that, and the pauses after one that failed |
//! | `wal`, `growth` | the write-ahead log: its way into the database, its bound, its length |
//! | `read`, `runs`, `find`, `view_flag` | the readers' side |
//! | `log_row`, `scrub` | rows of the log and their checksums |

mod epochs;
mod error;
mod index;
pub mod inspect;
mod lock;
mod log_row;
mod maintenance;
mod open;
mod read;
mod recovery;
mod schema;
mod store_row;
mod watch;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sqlx::SqlitePool;
use tokio::task::JoinHandle;

use crate::domain::history::History;
use crate::domain::projection::Lifecycle;
use crate::domain::{Error, Event, EventId, Result, Run, RunId, RunStatus, Scope};
use crate::store::tasks::Tasks;

use super::commit::queue::{Queue, QueueOptions};
use super::{Append, Page, Range, Receipt, RunQuery, RunsPage, ScopeEnd, Scrubbed, Store};
use index::id_index::Ids;
use index::unindexed_tail::UnindexedTail;
use lock::FileLock;
pub use schema::OpenError;
use watch::FileWatch;

/// How a SQLite store works. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file; made if missing.
    pub path: std::path::PathBuf,
    /// What to do with events after the end of a run.
    pub lifecycle: Lifecycle,
    /// Bounds of what waits and of a commit.
    pub queue: QueueOptions,
    /// Connections for readers.
    pub read_connections: u32,
    /// Entries of the log's end that stay out of the indexes before they are moved there.
    pub max_unflushed_entries: usize,
    /// Most of these entries that are moved between two commits.
    pub slice_entries: usize,
}

impl SqliteOptions {
    /// The defaults, for a store at this path.
    #[must_use]
    pub fn new(path: impl Into<std::path::PathBuf>) -> Self {
        Self {
            path: path.into(),
            lifecycle: Lifecycle::Record,
            queue: QueueOptions::default(),
            read_connections: 4,
            max_unflushed_entries: 16_384,
            slice_entries: 512,
        }
    }
}

/// The store. Make it with [`SqliteStore::open`].
pub struct SqliteStore {
    queue: Queue,
    tasks: Tasks,
    readers: SqlitePool,
    tail: Arc<UnindexedTail>,
    ids: Arc<Ids>,
    watch: Arc<FileWatch>,
    /// Held until the last connection is closed.
    lock: Mutex<Option<Arc<FileLock>>>,
    history: Arc<History>,
    committer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

#[async_trait]
impl Store for SqliteStore {
    async fn submit(&self, append: Append) -> Result<Receipt> {
        self.watch.verdict()?;
        self.queue.submit(append).await
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        self.watch.verdict()?;
        match scope {
            Scope::Run(run_id) => read::run_page(&self.readers, &self.tail, run_id, range).await,
            Scope::Feed => read::feed_page(&self.readers, &self.tail, range).await,
        }
    }

    async fn scope_end(&self, scope: &Scope) -> Result<ScopeEnd> {
        self.watch.verdict()?;
        match scope {
            Scope::Run(run_id) => {
                let mut reader = self.readers.acquire().await.map_err(error::from_sqlx)?;
                Ok(read::runs::scope_end(&mut reader, &self.tail, run_id).await?.1)
            }
            Scope::Feed => Ok(ScopeEnd { last: self.tail.last_position(), status: RunStatus::Unspecified }),
        }
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        self.watch.verdict()?;
        read::runs::one(&self.readers, &self.tail, run_id).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        self.watch.verdict()?;
        read::runs::list(&self.readers, &self.tail, query).await
    }

    async fn count_runs(&self, query: &RunQuery) -> Result<u64> {
        self.watch.verdict()?;
        read::runs::count(&self.readers, query).await
    }

    async fn run_ids_at(&self, query: &RunQuery, offset: u64) -> Result<Vec<RunId>> {
        self.watch.verdict()?;
        read::runs::ids_at(&self.readers, query, offset).await
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        self.watch.verdict()?;
        read::find::event(&self.readers, &self.tail, &self.ids, run_id, event_id).await
    }

    fn queued_bytes(&self) -> usize {
        self.queue.used_bytes()
    }

    async fn scrub(&self, after: u64) -> Result<Scrubbed> {
        self.watch.verdict()?;
        let mut reader = self.readers.acquire().await.map_err(error::from_sqlx)?;
        maintenance::scrub::part(&mut reader, after).await
    }

    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn history(&self) -> Arc<History> {
        Arc::clone(&self.history)
    }

    fn generation(&self) -> u64 {
        // A file goes back in time only while nobody has it open.
        0
    }

    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64> {
        self.watch.verdict()?;
        read::last_seq_at(&self.readers, &self.tail, run_id, position).await
    }

    async fn ready(&self) -> Result<()> {
        self.watch.look()?;
        sqlx::query("SELECT 1").execute(&self.readers).await.map_err(error::from_sqlx)?;
        if self.tasks.are_well() { self.queue.check() } else { Err(Error::Internal) }
    }

    async fn lost(&self) -> Error {
        tokio::select! {
            error = self.watch.lost() => error,
            () = self.tasks.defect() => Error::Internal,
        }
    }

    async fn close(&self) {
        self.queue.close();
        let mut committer = self.committer.lock().await;
        // Taken out only after its end, so that a close that was given up can be called again.
        if let Some(running) = committer.as_mut() {
            if let Err(cause) = running.await {
                tracing::error!(%cause, "the committer did not end cleanly");
            }
            *committer = None;
        }
        self.readers.close().await;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
