//! The store in one SQLite file, owned by one process.
//!
//! | module | content |
//! |---|---|
//! | `open` | opens the file: lock, schema, in-memory state, tasks |
//! | `connect` | options of the connections |
//! | `schema`, `store_row` | migrations and the errors of an unusable file; the one row about the store itself |
//! | `lock`, `watch` | lock that makes one process the owner; detection of deleted, replaced or truncated files |
//! | `epochs` | one epoch for each opening of the file, so that cursors of a lost history are recognised |
//! | `keys`, `projects` | keys of callers and secrets of the server; projects |
//! | `rare_writes` | writes of keys, secrets and projects, beside the committer |
//! | `retention/` | removal of events: retention, erasure, hold |
//! | `rewrites`, `feed_floors` | generation of rewritten rows, for readers; where the feeds begin |
//! | `recovery` | reads the in-memory state back from the file, at a start and after a failed commit |
//! | `log_row` | rows of the log and their checksums |
//! | `error` | SQLite result codes to domain errors |
//! | `backup/` | copies of the file, their checks, and what a restored copy changes |
//! | `inspect` | `runlog check` and `runlog migrate`: file checks without serving the file |
//! | `write/` | commit path: the one writing task, plan, transaction, existing events, run state cache |
//! | `read/` | pages of a run and of the feed; rows of runs and sums over them; one event by id; the column `sensitive` |
//! | `index/` | `unindexed_tail` (end of the log that no index covers), `flush` (moves the tail into the indexes) |
//! | `index/id_index/` | event ids: a memtable for the tail, segments on disk, compaction |
//! | `maintenance/` | work between commits: checkpoints and length of the write-ahead log, scrub, transactions, backoff |

pub mod backup;
mod connect;
mod epochs;
mod error;
mod feed_floors;
mod index;
pub mod inspect;
mod keys;
mod lock;
mod log_row;
mod maintenance;
mod open;
mod options;
mod projects;
mod rare_writes;
mod read;
mod recovery;
mod retention;
mod rewrites;
mod schema;
mod store_row;
mod watch;
mod write;

use std::future::ready;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use sqlx::SqlitePool;

use crate::domain::history::History;
use crate::domain::retention::Retention;
use crate::domain::usage::UsageReport;
use crate::domain::{Error, Event, EventId, Payload, ProjectId, Result, Run, RunFilter, RunId, RunStatus, Scope};
use crate::store::tasks::{self, RunningCommitter, Tasks};

use super::backup::BackupCopy;
use super::commit::queue::Queue;
use super::{
    Append, Expired, KeyStore, Page, ProjectNumber, Range, RunKey, RunQuery, RunsPage, ScopeEnd, ScopeExtent, Scrubbed,
    SharedStore, Store, Submitting, UsageQuery,
};
use backup::Backups;
use index::id_index::Ids;
use index::unindexed_tail::UnindexedTail;
use keys::SqliteKeys;
use lock::FileLock;
pub use options::SqliteOptions;
use projects::Projects;
use rare_writes::RareWrites;
use retention::Removals;
use rewrites::Rewrites;
pub use schema::OpenError;
use watch::FileWatch;

/// Kind of the store.
const KIND: &str = "sqlite";

/// A store in one SQLite file, created by [`SqliteStore::open`], as one project sees it.
pub struct SqliteStore {
    shared: Arc<Shared>,
    project: ProjectNumber,
}

/// What all projects share.
struct Shared {
    queue: Queue,
    tasks: Tasks,
    readers: SqlitePool,
    keys: SqliteKeys,
    writes: Arc<RareWrites>,
    backups: Backups,
    projects: Projects,
    removals: Arc<Removals>,
    rewrites: Arc<Rewrites>,
    tail: Arc<UnindexedTail>,
    ids: Arc<Ids>,
    watch: Arc<FileWatch>,
    /// Held until the last connection is closed.
    lock: Mutex<Option<Arc<FileLock>>>,
    committer: RunningCommitter,
}

impl SqliteStore {
    fn key(&self, run_id: &RunId) -> RunKey {
        RunKey::new(self.project, run_id.clone())
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn submit(&self, append: Append) -> Submitting<'_> {
        match self.shared.watch.verdict() {
            Ok(()) => self.shared.queue.submit(self.project, append),
            Err(error) => Submitting::Left(ready(Err(error))),
        }
    }

    async fn read(&self, scope: &Scope, range: Range) -> Result<Page> {
        self.shared.watch.verdict()?;
        let Shared { readers, tail, rewrites, .. } = &*self.shared;
        match scope {
            Scope::Run(run_id) => read::run_page(readers, tail, rewrites, &self.key(run_id), range).await,
            Scope::Feed => read::feed::page(readers, tail, rewrites, self.project, range).await,
        }
    }

    async fn extent(&self, scope: &Scope) -> Result<ScopeExtent> {
        self.shared.watch.verdict()?;
        let Shared { readers, tail, rewrites, .. } = &*self.shared;
        match scope {
            Scope::Run(run_id) => {
                let mut reader = readers.acquire().await.map_err(error::from_sqlx)?;
                let run = read::run_scope::of(&mut reader, tail, &self.key(run_id)).await?;
                Ok(ScopeExtent { first: run.first, end: run.end })
            }
            Scope::Feed => {
                // The begin first: it is never after the end of the same moment, nor of a later one.
                let first = rewrites.first(self.project);
                let end = ScopeEnd { last: tail.last_position(self.project), status: RunStatus::Unspecified };
                Ok(ScopeExtent { first, end })
            }
        }
    }

    async fn erase(&self, run_id: &RunId, seqs: RangeInclusive<u64>) -> Result<u64> {
        Arc::clone(&self.shared.removals).erase(self.key(run_id), seqs).await
    }

    async fn compact(&self, run_id: &RunId, removed: &[u64], last: u64, payload: Payload) -> Result<bool> {
        Arc::clone(&self.shared.removals).compact(self.key(run_id), removed.to_vec(), last, payload).await
    }

    async fn hold(&self, run_id: &RunId, is_held: bool) -> Result<()> {
        Arc::clone(&self.shared.removals).hold(self.key(run_id), is_held).await
    }

    async fn expire(&self, retention: &Retention, now: Timestamp, after: u64) -> Result<Expired> {
        Arc::clone(&self.shared.removals).expire(self.project, retention.clone(), now, after).await
    }

    async fn run(&self, run_id: &RunId) -> Result<Run> {
        self.shared.watch.verdict()?;
        read::runs::one(&self.shared.readers, &self.shared.tail, &self.key(run_id)).await
    }

    async fn runs(&self, query: &RunQuery) -> Result<RunsPage> {
        self.shared.watch.verdict()?;
        read::runs::list(&self.shared.readers, &self.shared.tail, self.project, query).await
    }

    async fn count_runs(&self, filter: &RunFilter) -> Result<u64> {
        self.shared.watch.verdict()?;
        read::runs::count(&self.shared.readers, self.project, filter).await
    }

    async fn run_ids_at(&self, filter: &RunFilter, offset: u64, limit: usize) -> Result<Vec<RunId>> {
        self.shared.watch.verdict()?;
        read::runs::ids_at(&self.shared.readers, self.project, filter, offset, limit).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<UsageReport> {
        self.shared.watch.verdict()?;
        read::usage::report(&self.shared.readers, self.project, query).await
    }

    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event> {
        self.shared.watch.verdict()?;
        let Shared { readers, tail, ids, rewrites, .. } = &*self.shared;
        read::find::event(readers, tail, ids, rewrites, self.project, run_id, event_id).await
    }

    fn queued_bytes(&self) -> usize {
        self.shared.queue.used_bytes()
    }

    async fn scrub(&self, after: u64) -> Result<Scrubbed> {
        self.shared.watch.verdict()?;
        let mut reader = self.shared.readers.acquire().await.map_err(error::from_sqlx)?;
        maintenance::scrub::part(&mut reader, after).await
    }

    async fn backup(&self) -> Result<BackupCopy> {
        self.shared.watch.verdict()?;
        self.shared.backups.make().await
    }

    fn in_project(&self, project: ProjectNumber) -> SharedStore {
        Arc::new(Self { shared: Arc::clone(&self.shared), project })
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<ProjectNumber>> {
        self.shared.watch.verdict()?;
        self.shared.projects.find(&self.shared.readers, id).await
    }

    fn projects(&self) -> Vec<(ProjectId, ProjectNumber)> {
        self.shared.projects.all()
    }

    async fn create_project(&self, id: &ProjectId) -> Result<ProjectNumber> {
        self.shared.projects.create(&self.shared.writes, id).await
    }

    fn keys(&self) -> &dyn KeyStore {
        &self.shared.keys
    }

    fn kind(&self) -> &'static str {
        KIND
    }

    fn history(&self) -> Arc<History> {
        self.shared.projects.history(self.project)
    }

    fn generation(&self) -> u64 {
        // Only a closed file can be replaced by an older copy, so the history of an open store never changes.
        0
    }

    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64> {
        self.shared.watch.verdict()?;
        read::last_seq_at(&self.shared.readers, &self.shared.tail, &self.key(run_id), position).await
    }

    async fn ready(&self) -> Result<()> {
        self.shared.watch.look()?;
        sqlx::query("SELECT 1").execute(&self.shared.readers).await.map_err(error::from_sqlx)?;
        if self.shared.tasks.are_well() { self.shared.queue.check() } else { Err(Error::internal(tasks::ENDED)) }
    }

    async fn lost(&self) -> Error {
        tokio::select! {
            error = self.shared.watch.lost() => error,
            () = self.shared.tasks.defect() => Error::internal(tasks::ENDED),
        }
    }

    async fn close(&self) {
        self.shared.queue.close();
        self.shared.backups.close().await;
        self.shared.writes.close().await;
        self.shared.removals.close().await;
        self.shared.committer.ended().await;
        self.shared.readers.close().await;
        *self.shared.lock.lock() = None;
    }
}
