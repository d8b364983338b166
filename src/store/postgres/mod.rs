//! The PostgreSQL store: one database, shared by any number of replicas.
//!
//! | module | content |
//! |---|---|
//! | `options` | options of the store |
//! | `open`, `check` | connect, check the server, migrate, start the tasks |
//! | `inspect` | the same checks without a start, for `check` and `migrate` |
//! | `epochs` | detects a database that went back in time, and begins epochs |
//! | `projects`, `known_projects` | finds and creates projects; projects in memory with their histories |
//! | `feed_row`, `positions` | rows of the table `feed`; a position in the feed of each project |
//! | `connect/session`, `executor` | settings of a connection; statements on a session or a pooled connection |
//! | `connect/readers`, `retry` | read pool; pauses and deadlines of retries |
//! | `connect/replication` | state of standbys: whether a promoted standby has all acknowledged events |
//! | `write/committer`, `writer` | the single writer of a replica; one attempt to commit a group |
//! | `write/transaction`, `imported`, `in_doubt` | statements of a commit; what imports add; the lookup of a commit in doubt |
//! | `write/existing` | stored events that a group may repeat |
//! | `write/run_state`, `planned` | cache of run states; plan of a commit, kept while in doubt |
//! | `keys` | keys of callers, and secrets of the server |
//! | `feed` | `follower` (announces the commits of all replicas in feed order), `announcer`, `signals` (LISTEN), `removals`, `replica` (the lease of what is in memory) |
//! | `read` | pages, runs and sums over them, single events |
//! | `removal` | retention, erasure, compaction and holds |
//! | `event_row`, `row_checksum`, `event_columns` | events as rows; their checksums; events as parameters of a commit |
//! | `scrub` | comparison of rows with their checksums |
//! | `error` | errors of the database, transient or final |
//!
//! A commit belongs to one project. It locks the rows of its runs in the order of their ids, and the row of the project's
//! feed last. Therefore seqs and positions have no gaps, commits never deadlock, and position order equals the order in
//! which the commits of a project become visible: a reader that has seen a position has seen every earlier event.

mod check;
mod connect;
mod epochs;
mod error;
mod event_columns;
mod event_row;
mod feed;
mod feed_row;
pub mod inspect;
mod keys;
mod known_projects;
mod open;
mod options;
mod positions;
mod projects;
mod read;
mod removal;
mod row_checksum;
mod scrub;
mod write;

use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::history::History;
use crate::domain::retention::Retention;
use crate::domain::usage::UsageReport;
use crate::domain::{
    BackupRefusal, Error, Event, EventId, FeedId, Payload, ProjectId, Result, Run, RunFilter, RunId, RunStatus, Scope,
};
use crate::store::tasks::{self, RunningCommitter, Tasks};

use super::backup::BackupCopy;
use super::commit::queue::Queue;
use super::{
    Append, Expired, KeyStore, Page, ProjectNumber, Range, RunKey, RunQuery, RunsPage, ScopeEnd, ScopeExtent, Scrubbed,
    SharedStore, Store, Submitting, UsageQuery,
};
pub use check::OpenError;
use connect::readers::{Readers, retried};
use epochs::Epochs;
use error::Fault;
use feed::replica::Replica;
use keys::PostgresKeys;
pub use options::PostgresOptions;
use removal::Removals;

/// The PostgreSQL store, opened with [`PostgresStore::open`], as one project sees it.
pub struct PostgresStore {
    shared: Arc<Shared>,
    project: ProjectNumber,
}

/// What all projects share.
struct Shared {
    queue: Queue,
    readers: Arc<Readers>,
    keys: PostgresKeys,
    removals: Removals,
    replica: Arc<Replica>,
    epochs: Arc<Epochs>,
    vital: Tasks,
    committer: RunningCommitter,
}

impl PostgresStore {
    fn key(&self, run_id: &RunId) -> RunKey {
        RunKey::new(self.project, run_id.clone())
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn submit(&self, append: Append) -> Submitting<'_> {
        self.shared.queue.submit(self.project, append)
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        let (readers, project) = (&self.shared.readers, self.project);
        match scope {
            Scope::Run(run_id) => {
                let key = self.key(run_id);
                retried!(readers, connection => read::run_page(connection, &key, range))
            }
            Scope::Feed => retried!(readers, connection => read::feed_page(connection, project, range)),
        }
        .map_err(Fault::into_error)
    }

    async fn extent(&self, scope: &Scope) -> Result<ScopeExtent> {
        let readers = &self.shared.readers;
        match scope {
            Scope::Run(run_id) => {
                let key = self.key(run_id);
                let run = retried!(readers, connection => read::runs::extent(connection, &key));
                run.map(|run| ScopeExtent { first: run.first, end: run.scope_end })
            }
            Scope::Feed => {
                let feed = retried!(readers, connection => read::feed_extent(connection, self.project));
                feed.map(|feed| {
                    let end = ScopeEnd { last: feed.last, status: RunStatus::Unspecified };
                    ScopeExtent { first: feed.first, end }
                })
            }
        }
        .map_err(Fault::into_error)
    }

    async fn erase(&self, run_id: &RunId, seqs: RangeInclusive<u64>) -> Result<u64> {
        self.shared.removals.erase(self.project, run_id, seqs).await
    }

    async fn compact(&self, run_id: &RunId, removed: &[u64], last: u64, payload: Payload) -> Result<bool> {
        self.shared.removals.compact(self.project, run_id, removed, last, payload).await
    }

    async fn hold(&self, run_id: &RunId, is_held: bool) -> Result<()> {
        self.shared.removals.hold(self.project, run_id, is_held).await
    }

    async fn expire(&self, retention: &Retention, now: Timestamp, after: u64) -> Result<Expired> {
        self.shared.removals.expire(self.project, retention, now, after).await
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        let key = self.key(run_id);
        retried!(&self.shared.readers, connection => read::runs::one(connection, &key)).map_err(Fault::into_error)
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        retried!(&self.shared.readers, connection => read::runs::list(connection, self.project, query))
            .map_err(Fault::into_error)
    }

    async fn count_runs(&self, filter: &RunFilter) -> Result<u64> {
        retried!(&self.shared.readers, connection => read::runs::count(connection, self.project, filter))
            .map_err(Fault::into_error)
    }

    async fn run_ids_at(&self, filter: &RunFilter, offset: u64, limit: usize) -> Result<Vec<RunId>> {
        retried!(&self.shared.readers, connection => read::runs::ids_at(connection, self.project, filter, offset, limit))
            .map_err(Fault::into_error)
    }

    async fn usage(&self, query: &UsageQuery) -> Result<UsageReport> {
        retried!(&self.shared.readers, connection => read::usage::report(connection, self.project, query))
            .map_err(Fault::into_error)
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        retried!(&self.shared.readers, connection => read::find::event(connection, self.project, run_id, event_id))
            .map_err(Fault::into_error)
    }

    fn may_serve_memory(&self) -> bool {
        self.shared.replica.may_serve_memory()
    }

    fn queued_bytes(&self) -> usize {
        self.shared.queue.used_bytes()
    }

    async fn scrub(&self, after: u64) -> Result<Scrubbed> {
        retried!(&self.shared.readers, connection => scrub::part(connection, after)).map_err(Fault::into_error)
    }

    async fn backup(&self) -> Result<BackupCopy> {
        Err(Error::Backup(BackupRefusal::Unsupported))
    }

    fn in_project(&self, project: ProjectNumber) -> SharedStore {
        Arc::new(Self { shared: Arc::clone(&self.shared), project })
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<ProjectNumber>> {
        projects::find(&self.shared.readers, id).await
    }

    fn projects(&self) -> Vec<(ProjectId, ProjectNumber)> {
        self.shared.epochs.current.all()
    }

    async fn create_project(&self, id: &ProjectId) -> Result<ProjectNumber> {
        projects::create(&self.shared.readers, id).await
    }

    fn keys(&self) -> &dyn KeyStore {
        &self.shared.keys
    }

    fn kind(&self) -> &'static str {
        "postgresql"
    }

    fn history(&self) -> Arc<History> {
        let unknown = || Arc::new(History::new(FeedId(0), Vec::new()));
        self.shared.epochs.current.history(self.project).unwrap_or_else(unknown)
    }

    fn generation(&self) -> u64 {
        self.shared.epochs.current.generation()
    }

    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64> {
        let key = self.key(run_id);
        retried!(&self.shared.readers, connection => read::last_seq_at(connection, &key, position))
            .map_err(Fault::into_error)
    }

    async fn ready(&self) -> Result<()> {
        self.shared.readers.answers().await.map_err(Fault::into_error)?;
        if self.shared.vital.are_well() { self.shared.queue.check() } else { Err(Error::internal(tasks::ENDED)) }
    }

    async fn lost(&self) -> Error {
        self.shared.vital.defect().await;
        Error::internal(tasks::ENDED)
    }

    async fn close(&self) {
        self.shared.queue.close();
        self.shared.committer.ended().await;
        self.shared.replica.leave(&self.shared.readers).await;
        self.shared.readers.pool.close().await;
    }
}
