//! The store in PostgreSQL, shared by any number of replicas.
//!
//! | file | what |
//! |---|---|
//! | `open`, `check` | connect, check, migrate, start the tasks |
//! | `replication` | whether a standby has all that was acknowledged |
//! | `inspect` | the same looks without a start, for `check` and `migrate` |
//! | `epochs` | whether the database is the one that it was, or has gone back in time |
//! | `session`, `link` | what every connection is announced, and how statements see it |
//! | `committer`, `writer` | the replica's one writer: takes what waits, commits it, finds out what became of it |
//! | `transaction`, `known`, `run_states` | its statements, the events it repeats, the runs it knows |
//! | `planned` | a commit whose outcome may not be known yet |
//! | `follower`, `signals` | tells the listener of all replicas' commits, as far as it has use for them, in the order of the feed |
//! | `readers`, `read`, `runs`, `find` | the readers' side |
//! | `event_row`, `event_columns` | events as rows and their checksums; as the columns of a commit |
//! | `scrub` | comparing the rows with their checksums |
//! | `error`, `retry_policy` | what failed, and whether to try again |
//!
//! A commit locks the rows of its runs in the order of their ids, and last the one row of the feed. So seqs and positions
//! are gapless, no two replicas wait for each other in a circle, and the order of positions is the order in which
//! commits become visible: a reader that saw a position has nothing before it still to come.

mod check;
mod connect;
mod epochs;
mod error;
mod event_columns;
mod event_row;
mod feed;
pub mod inspect;
mod open;
mod read;
mod scrub;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use crate::domain::history::History;
use crate::domain::projection::Lifecycle;
use crate::domain::{Error, Event, EventId, Result, Run, RunId, RunStatus, Scope};
use crate::store::tasks::Tasks;

use super::commit::queue::{Queue, QueueOptions};
use super::{Append, Page, Range, Receipt, RunQuery, RunsPage, ScopeEnd, Scrubbed, Store};
pub use check::OpenError;
use connect::readers::{Readers, retried};
use epochs::Epochs;
use error::Fault;

/// How a PostgreSQL store works. Each field is an option of `runlog serve`.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Where the database is, as `postgres://user:password@host:port/database?sslmode=…`. Never printed.
    pub url: String,
    /// What to do with events after the end of a run.
    pub lifecycle: Lifecycle,
    /// Bounds of what waits and of a commit.
    pub queue: QueueOptions,
    /// Connections for readers. The replica has three more: to write, to follow the feed, and to listen.
    pub pool_size: u32,
    /// How long a statement or a lock may take.
    pub statement_timeout: Duration,
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long what failed is tried again inside, and how long it takes at most to find out whether a commit that was not
    /// answered took place: the last try begins within it.
    pub retry: Duration,
    /// Tell other replicas of commits with NOTIFY, and LISTEN to theirs.
    pub notify: bool,
    /// How often the feed is asked whether there is more.
    pub poll: Duration,
}

impl PostgresOptions {
    /// The defaults, for a store at this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            lifecycle: Lifecycle::Record,
            queue: QueueOptions::default(),
            pool_size: 8,
            statement_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            retry: Duration::from_secs(10),
            notify: true,
            poll: Duration::from_secs(1),
        }
    }

    /// How long to wait for an answer of the server: it gives up first, unless it is gone.
    fn statement_deadline(&self) -> Duration {
        self.statement_timeout + Duration::from_secs(1)
    }
}

/// The store. Make it with [`PostgresStore::open`].
pub struct PostgresStore {
    queue: Queue,
    readers: Readers,
    epochs: Arc<Epochs>,
    vital: Tasks,
    tasks: tokio::sync::Mutex<Option<JoinHandle<()>>>,
}

#[async_trait]
impl Store for PostgresStore {
    async fn submit(&self, append: Append) -> Result<Receipt> {
        self.queue.submit(append).await
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        match scope {
            Scope::Run(run_id) => retried!(&self.readers, connection => read::run_page(connection, run_id, range)),
            Scope::Feed => retried!(&self.readers, connection => read::feed_page(connection, range)),
        }
        .map_err(Fault::into_error)
    }

    async fn scope_end(&self, scope: &Scope) -> Result<ScopeEnd> {
        match scope {
            Scope::Run(run_id) => retried!(&self.readers, connection => read::runs::scope_end(connection, run_id))
                .map(|(_, scope_end)| scope_end),
            Scope::Feed => self.readers.feed_end().await.map(|last| ScopeEnd { last, status: RunStatus::Unspecified }),
        }
        .map_err(Fault::into_error)
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        retried!(&self.readers, connection => read::runs::one(connection, run_id)).map_err(Fault::into_error)
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        retried!(&self.readers, connection => read::runs::list(connection, query)).map_err(Fault::into_error)
    }

    async fn count_runs(&self, query: &RunQuery) -> Result<u64> {
        retried!(&self.readers, connection => read::runs::count(connection, query)).map_err(Fault::into_error)
    }

    async fn run_ids_at(&self, query: &RunQuery, offset: u64) -> Result<Vec<RunId>> {
        retried!(&self.readers, connection => read::runs::ids_at(connection, query, offset)).map_err(Fault::into_error)
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        retried!(&self.readers, connection => read::find::event(connection, run_id, event_id))
            .map_err(Fault::into_error)
    }

    fn queued_bytes(&self) -> usize {
        self.queue.used_bytes()
    }

    async fn scrub(&self, after: u64) -> Result<Scrubbed> {
        retried!(&self.readers, connection => scrub::part(connection, after)).map_err(Fault::into_error)
    }

    fn kind(&self) -> &'static str {
        "postgresql"
    }

    fn history(&self) -> Arc<History> {
        self.epochs.current.get()
    }

    fn generation(&self) -> u64 {
        self.epochs.current.generation()
    }

    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64> {
        retried!(&self.readers, connection => read::last_seq_at(connection, run_id, position))
            .map_err(Fault::into_error)
    }

    async fn ready(&self) -> Result<()> {
        open::answers(&self.readers).await.map_err(Fault::into_error)?;
        if self.vital.are_well() { self.queue.check() } else { Err(Error::Internal) }
    }

    async fn lost(&self) -> Error {
        self.vital.defect().await;
        Error::Internal
    }

    async fn close(&self) {
        self.queue.close();
        let mut tasks = self.tasks.lock().await;
        // Taken out only after its end, so that a close that was given up can be called again.
        if let Some(running) = tasks.as_mut() {
            if let Err(cause) = running.await {
                tracing::error!(%cause, "the committer did not end cleanly");
            }
            *tasks = None;
        }
        self.readers.pool.close().await;
    }
}
