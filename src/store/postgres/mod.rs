//! The PostgreSQL store: one database, shared by any number of replicas.
//!
//! | module | content |
//! |---|---|
//! | `options` | options of the store |
//! | `open`, `check` | connect, check the server, migrate, start the tasks |
//! | `inspect` | the same checks without a start, for `check` and `migrate` |
//! | `epochs` | detects a database that went back in time, and begins epochs |
//! | `connect/session`, `executor` | settings of a connection; statements on a session or a pooled connection |
//! | `connect/readers`, `retry` | read pool; pauses and deadlines of retries |
//! | `connect/replication` | state of standbys: whether a promoted standby has all acknowledged events |
//! | `write/committer`, `writer` | the single writer of a replica; one attempt to commit a group |
//! | `write/transaction`, `existing` | statements of a commit; stored events that a group may repeat |
//! | `write/run_state`, `planned` | cache of run states; plan of a commit, kept while in doubt |
//! | `keys` | keys of callers, and secrets of the server |
//! | `feed` | `follower` (announces the commits of all replicas in feed order), `signals` (LISTEN) |
//! | `read` | pages, runs, single events |
//! | `event_row`, `event_columns` | events as rows with checksums; events as parameters of a commit |
//! | `scrub` | comparison of rows with their checksums |
//! | `error` | errors of the database, transient or final |
//!
//! A commit locks the rows of its runs in the order of their ids, and the single row of the feed last. Therefore seqs
//! and positions have no gaps, commits never deadlock, and position order equals the order in which commits become
//! visible: a reader that has seen a position has seen every earlier event.

mod check;
mod connect;
mod epochs;
mod error;
mod event_columns;
mod event_row;
mod feed;
pub mod inspect;
mod keys;
mod open;
mod options;
mod read;
mod scrub;
mod write;

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::history::History;
use crate::domain::{Error, Event, EventId, Result, Run, RunId, RunStatus, Scope};
use crate::store::tasks::{self, RunningCommitter, Tasks};

use super::commit::queue::Queue;
use super::{Append, KeyStore, Page, Range, Receipt, RunQuery, RunsPage, ScopeEnd, Scrubbed, Store};
pub use check::OpenError;
use connect::readers::{Readers, retried};
use epochs::Epochs;
use error::Fault;
use keys::PostgresKeys;
pub use options::PostgresOptions;

/// The PostgreSQL store, opened with [`PostgresStore::open`].
pub struct PostgresStore {
    queue: Queue,
    readers: Arc<Readers>,
    keys: PostgresKeys,
    epochs: Arc<Epochs>,
    vital: Tasks,
    committer: RunningCommitter,
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

    fn keys(&self) -> &dyn KeyStore {
        &self.keys
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
        self.readers.answers().await.map_err(Fault::into_error)?;
        if self.vital.are_well() { self.queue.check() } else { Err(Error::internal(tasks::ENDED)) }
    }

    async fn lost(&self) -> Error {
        self.vital.defect().await;
        Error::internal(tasks::ENDED)
    }

    async fn close(&self) {
        self.queue.close();
        self.committer.ended().await;
        self.readers.pool.close().await;
    }
}
