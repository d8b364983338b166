//! The durable event log: the [`Store`] trait, whose comments are the contract, and its SQLite and PostgreSQL
//! implementations. One test suite (`tests/contract`) runs against every implementation.

/// A failpoint: a test can make the surrounding function return an error here. The second argument is a function that
/// converts the `sqlx::Error` of the failpoint into the function's error type.
macro_rules! failpoint {
    ($point:literal, $error:expr) => {
        #[cfg(feature = "failpoints")]
        fail::fail_point!($point, |action| Err($error($crate::store::failpoints::act($point, action))));
    };
}

pub mod backup;
mod checksum;
mod commit;
#[cfg(feature = "failpoints")]
pub mod failpoints;
mod failures;
mod history;
mod ids;
mod import;
pub mod inspect;
mod keys;
mod latch;
pub mod postgres;
mod project;
mod retention;
mod run_filter;
mod run_row;
mod scrub;
pub mod sqlite;
mod tasks;
mod types;
mod usage;

pub use commit::queue::QueueOptions;
pub use import::{Import, Recorded};
pub use keys::{KeyList, KeyStore};
pub use latch::Latch;
pub use project::{MAX_PROJECTS, ProjectNumber, RunKey};
pub use scrub::Scrubbed;
pub use types::{
    Append, Commit, Condition, Expired, Interest, Page, Range, ReadFrom, Receipt, RunCommit, RunQuery, RunsPage,
    ScopeEnd, ScopeExtent, Sequence, Submitting,
};
pub use usage::UsageQuery;

use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use backup::BackupCopy;

use crate::domain::event::Appended;
use crate::domain::history::History;
use crate::domain::retention::Retention;
use crate::domain::usage::UsageReport;
use crate::domain::{Error, Event, EventId, Payload, ProjectId, Result, Run, RunFilter, RunId, Scope};

/// Receiver of commits. The store calls the listener from the commit path, so the methods must not block.
pub trait CommitListener: Send + Sync + 'static {
    /// Publishes a durable commit to one project.
    fn committed(&self, commit: Commit);

    /// Reports that the history of the store has changed: events cached from earlier commits may no longer be stored.
    /// Called before any event of the new history is announced or read.
    fn history_changed(&self) {}

    /// Reports that payloads of stored events of a project were removed: events cached from earlier commits may hold them. Called
    /// after the removal is durable.
    fn removed(&self, _project: ProjectNumber) {}

    /// Runs of a project whose events the listener wants. A store asks before reading commits of other replicas, and
    /// publishes only the last position of the feed for all other runs.
    fn interest(&self, _project: ProjectNumber) -> Interest {
        Interest::All
    }
}

/// The durable log of all projects, seen by one of them: runs, events and the feed are those of this project, and another
/// project's are not found. [`in_project`](Self::in_project) gives the view of another project. The whole store has the commit
/// queue, keys, checks and the end.
///
/// Every method may fail with `StoreUnavailable`, `StoreLost`, `StoreDamaged` or `Internal`. An append that fails with
/// one of these errors has stored no event and never will. Events that do not match their checksum are never returned:
/// a read fails with `EventDamaged`, and a page ends before the damaged events unless the page begins with them.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Queues an append; resolves when the append has a place in the queue, which it may have before the first poll. Appends are
    /// stored in the order in which they were accepted, except that small ones may overtake large ones, and imports, of other runs
    /// and sequences. The receipt reports the outcome; dropping the receipt does not cancel the append.
    ///
    /// An append is atomic: all events are stored, or none. An event whose `event_id` already exists in the run is not
    /// stored again: with equal content the event is answered as a duplicate, with different content the whole append
    /// fails with `EventIdConflict`. The condition is checked when at least one event is new, and fails with
    /// `SeqConflict` or `RunChanged`. Seqs follow the last seq of the run without gaps; `recorded_at` never decreases
    /// within a run; the row of the run changes in the same transaction. An append fails with `FinalStatus` under a
    /// strict lifecycle, with `StoreFull` and `StoreReadOnly`. `submit` itself fails with `Overloaded` when the queue
    /// stays full, and with `ShuttingDown` after `close`.
    ///
    /// `OutcomeUnknown` means an in-doubt commit: the commit was not answered in time, and the append is stored as a
    /// whole, will be, or never is. The store does not retry such an append. Later appends are answered correctly
    /// nevertheless, and an append with the same event ids resolves the doubt.
    ///
    /// With `recorded` the events keep their given times and ids, and their order in the feed across all appends of the
    /// import. No lifecycle rejects imported events. An id that the run already has is always an `EventIdConflict`,
    /// because a skipped duplicate would leave a gap. A time earlier than the time of the run's last event is an
    /// `InvalidField`. After the first failed append of an import, all later appends of the import fail with the same
    /// error.
    fn submit(&self, append: Append) -> Submitting<'_>;

    /// Submits an append and waits for the outcome. On success the events are durable.
    async fn append(&self, append: Append) -> Result<Appended> {
        self.submit(append).await?.stored().await
    }

    /// Reads a part of a scope. Every event acknowledged before the call is visible. Fails with `RunNotFound`, and with
    /// `EventsExpired` if the first event of the range is not kept any more: for `After` the next one, for `Before` the one before.
    /// The offset before the first kept event, and the first kept offset, are no such ranges. In a run, and in the feed, the
    /// kept events have no gap; removed events between them are without payload, see
    /// [`Removal`](crate::domain::Removal).
    async fn read(&self, scope: &Scope, range: Range) -> Result<Page>;

    /// First kept offset and current end of the scope, read at one moment. Fails with `RunNotFound`.
    async fn extent(&self, scope: &Scope) -> Result<ScopeExtent>;

    /// Erases the payloads of these events of a run; events that the run does not have are left out. Returns the number of
    /// events without payload afterwards. Documents of the run that came from the events are erased, too. On success the payloads
    /// are in no file of the store that a reader may open, as far as the store knows; the listener is notified before. Fails
    /// with `RunNotFound`, and with `OutcomeUnknown` if some events may be erased: the same call may be repeated.
    async fn erase(&self, run_id: &RunId, seqs: RangeInclusive<u64>) -> Result<u64>;

    /// Replaces the payload of the event `last` of a run, and removes the payloads of the events `removed` with
    /// [`Removal::Compacted`](crate::domain::Removal), in one transaction. `last` gets as `joined_from` the lowest of these seqs, and
    /// of the `joined_from` that these events have. Returns false, and changes nothing, if one of these events is removed already or
    /// not kept any more. Fails with `RunNotFound`.
    async fn compact(&self, run_id: &RunId, removed: &[u64], last: u64, payload: Payload) -> Result<bool>;

    /// Holds a run, so that [`expire`](Self::expire) passes it over, or releases it. Fails with `RunNotFound`.
    async fn hold(&self, run_id: &RunId, is_held: bool) -> Result<()>;

    /// One slice of retention: examines the next stored events of the project after this position, also those that the feed does not
    /// keep any more, at most a few hundred KiB, and removes in one transaction what `retention` does not keep at the time `now`. Events at the begin of their run
    /// are removed whole, and the run begins with the next one; others keep all but their payload. The newest event of a project
    /// stays. Runs keep their row, status, documents and last seq. Of several replicas one examines at a time; the others
    /// get an answer at once that says so.
    async fn expire(&self, retention: &Retention, now: Timestamp, after: u64) -> Result<Expired>;

    /// One run with its documents. Fails with `RunNotFound`.
    async fn run(&self, run_id: &RunId) -> Result<Run>;

    /// One page of runs with their documents, newest first.
    async fn runs(&self, query: &RunQuery) -> Result<RunsPage>;

    /// Number of matching runs.
    async fn count_runs(&self, filter: &RunFilter) -> Result<u64>;

    /// Ids of the matching runs, newest first, after the first `offset` runs; at most `limit` ids.
    async fn run_ids_at(&self, filter: &RunFilter, offset: u64, limit: usize) -> Result<Vec<RunId>>;

    /// Sums over the usage of the matching runs, from the rows of runs and not from events.
    async fn usage(&self, query: &UsageQuery) -> Result<UsageReport>;

    /// The event with this id, in the given run or in any run; with several matches, any of them. Fails with
    /// `EventNotFound`.
    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event>;

    /// Compares the next rows of the log after this position with their checksums; 0: from the beginning. One call
    /// reads at most a few MiB.
    async fn scrub(&self, after: u64) -> Result<Scrubbed>;

    /// Copies the store with all projects as it is at one moment: every event acknowledged before the call is in the copy. One
    /// copy at a time, and dropping the future leaves nothing behind. Fails with `Backup`, which says why no copy is made, and with
    /// `ShuttingDown` when the store closes.
    async fn backup(&self) -> Result<BackupCopy>;

    /// The same store, seen by this project.
    fn in_project(&self, project: ProjectNumber) -> SharedStore;

    /// Number of the project with this id; `None` if there is none.
    async fn project(&self, id: &ProjectId) -> Result<Option<ProjectNumber>>;

    /// The projects that this process knows.
    fn projects(&self) -> Vec<(ProjectId, ProjectNumber)>;

    /// Creates a project. An existing project stays as it is. Fails with `InvalidField` for one project too many,
    /// see [`MAX_PROJECTS`].
    async fn create_project(&self, id: &ProjectId) -> Result<ProjectNumber>;

    /// The keys of callers.
    fn keys(&self) -> &dyn KeyStore;

    /// Kind of the store: `sqlite` or `postgresql`.
    fn kind(&self) -> &'static str;

    /// Id of the feed of the project and its epochs. A new history replaces the old one after the store was found to have
    /// gone back in time.
    fn history(&self) -> Arc<History>;

    /// Number of changes of [`history`](Self::history). Events read under an earlier generation may no longer be
    /// stored.
    fn generation(&self) -> u64;

    /// Last seq of the run at or before this position of the feed; 0 if the run has no such event. Fails with
    /// `RunNotFound`.
    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64>;

    /// Whether events that were read or announced before, and are in memory, may be served. False while the store may not know what
    /// other replicas have removed: then readers read the store.
    fn may_serve_memory(&self) -> bool {
        true
    }

    /// Approximate bytes of appends in the commit queue, including the commit in progress.
    fn queued_bytes(&self) -> usize;

    /// Readiness: the store answers reads, and accepts publishes as far as the last publishes show.
    async fn ready(&self) -> Result<()>;

    /// Resolves when the store can never serve again: with `StoreLost` if the data files are lost, the error of every
    /// call from then on; with `Internal` if a task of the store has panicked.
    async fn lost(&self) -> Error;

    /// Commits all accepted appends and releases the store. Later appends fail with `ShuttingDown`.
    async fn close(&self);
}

/// A store of any kind, shared between tasks.
pub type SharedStore = Arc<dyn Store>;
