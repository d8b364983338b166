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

mod checksum;
mod commit;
#[cfg(feature = "failpoints")]
pub mod failpoints;
mod failures;
mod history;
mod ids;
mod import;
pub mod inspect;
pub mod postgres;
mod run_row;
mod scrub;
pub mod sqlite;
mod tasks;

pub use commit::queue::QueueOptions;
pub use import::{Import, Recorded};
pub use scrub::Scrubbed;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::codec::Chunk;
use crate::domain::event::Appended;
use crate::domain::history::History;
use crate::domain::{AgentName, Error, Event, EventId, NewEvent, Result, Run, RunId, RunStatus, Scope, StructureId};

/// One publish request: events for one run.
#[derive(Clone, Debug)]
pub struct Append {
    /// The run that gets the events. The first event of a run creates the run.
    pub run_id: RunId,
    /// The events in the order of their seqs; at least one, an empty list is a defect of the caller.
    pub events: Vec<NewEvent>,
    /// Precondition, checked if at least one event is new. `None`: no precondition.
    pub condition: Option<Condition>,
    /// Agent of the run; ignored if the run already has an agent.
    pub agent_name: Option<AgentName>,
    /// Structure of the run; ignored if the run already has a structure.
    pub structure_id: Option<StructureId>,
    /// `None`: a publish. `Some`: an import of events that another store recorded; times and ids are stored as given.
    pub recorded: Option<Recorded>,
}

/// Precondition of an append. The store compares the condition with the state of the run after all earlier appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The last seq of the run has this value; 0: the run does not exist. Otherwise the append fails with
    /// `SeqConflict`.
    LastSeq(u64),
    /// The run has this status. Otherwise the append fails with `RunChanged`, and so for all conditions below.
    Status(RunStatus),
    /// The status of the run is not final.
    NotEnded,
    /// The question asked by the event with this seq is still open.
    QuestionOpen(u64),
    /// No event is new: the append succeeds only as a repeat of stored events.
    OnlyRepeat,
}

impl Condition {
    /// Checks the condition against the run before the append.
    fn check(self, run: &Run) -> Result<()> {
        let holds = match self {
            Self::LastSeq(expected) if expected != run.last_seq => {
                let run_id = run.run_id.to_string();
                return Err(Error::SeqConflict { run_id, expected, actual: run.last_seq });
            }
            Self::LastSeq(_) => true,
            Self::Status(status) => run.status == status,
            Self::NotEnded => !run.status.is_final(),
            Self::QuestionOpen(seq) => run.pending_inputs.iter().any(|question| question.requested_seq == seq),
            Self::OnlyRepeat => false,
        };
        if holds { Ok(()) } else { Err(Error::RunChanged { run_id: run.run_id.to_string() }) }
    }
}

/// The part of a scope to read. An offset is a seq in a run, a position in the feed.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Exclusive start offset: an ascending read returns later events, a descending read earlier events.
    pub from: u64,
    /// Whether to read from newer to older events.
    pub descending: bool,
    /// Maximum number of events; at least 1.
    pub max_events: usize,
    /// The read stops after the chunk with which the records exceed this number of bytes. At least one event is
    /// returned.
    pub max_bytes: usize,
}

/// End of a scope: the last offset and the status of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeEnd {
    /// Offset of the last event; 0 when the scope is empty.
    pub last: u64,
    /// Status of the run; [`RunStatus::Unspecified`] for the feed.
    pub status: RunStatus,
}

/// Events of a scope, returned by one read.
#[derive(Clone, Debug)]
pub struct Page {
    /// Chunks without gaps between them, ascending or descending as requested; the events inside a chunk always ascend.
    pub chunks: Vec<Chunk>,
    /// End of the scope at, or before, the moment when the chunks were read.
    pub scope_end: ScopeEnd,
}

/// Filter and page of a list of runs, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// Only runs with one of these statuses; empty: all statuses.
    pub statuses: Vec<RunStatus>,
    /// Only runs of this agent.
    pub agent_name: Option<AgentName>,
    /// Only runs of this structure.
    pub structure_id: Option<StructureId>,
    /// Return runs older than the run with this number; `None` starts with the newest run.
    pub before: Option<i64>,
    /// Maximum number of runs; at least 1.
    pub limit: usize,
}

/// One page of a list of runs.
#[derive(Clone, Debug)]
pub struct RunsPage {
    /// The runs, newest first.
    pub runs: Vec<Run>,
    /// Value of `before` for the next page; `None` after the last page. A page may be short or empty and still have a
    /// next page, because one call scans a bounded number of runs.
    pub next: Option<i64>,
}

/// Events that a commit added to one run; published after the commit is durable.
#[derive(Clone, Debug)]
pub struct RunCommit {
    /// Id of the run.
    pub run_id: RunId,
    /// The new events of the run; `first` is a seq.
    pub chunks: Vec<Chunk>,
    /// End of the run after the commit.
    pub scope_end: ScopeEnd,
}

/// One commit, published after the commit is durable. Commits are published in feed order.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The runs with new events, each once.
    pub runs: Vec<RunCommit>,
    /// The same events in feed order; `first` is a position. Empty if only some runs are published, see [`Interest`].
    pub feed: Vec<Chunk>,
    /// End of the feed after the commit.
    pub feed_end: ScopeEnd,
}

impl Commit {
    /// A commit to runs without subscribers: carries only the last position of the feed.
    fn nothing(last: u64) -> Self {
        Self { runs: Vec::new(), feed: Vec::new(), feed_end: ScopeEnd { last, status: RunStatus::Unspecified } }
    }
}

/// Receiver of commits. The store calls the listener from the commit path, so the methods must not block.
pub trait CommitListener: Send + Sync + 'static {
    /// Publishes a durable commit.
    fn committed(&self, commit: Commit);

    /// Reports that the history of the store has changed: events cached from earlier commits may no longer be stored.
    /// Called before any event of the new history is announced or read.
    fn history_changed(&self) {}

    /// Runs whose events the listener wants. A store asks before reading commits of other replicas, and publishes only
    /// the last position of the feed for all other runs.
    fn interest(&self) -> Interest {
        Interest::All
    }
}

/// The runs that a listener follows, see [`CommitListener::interest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Every run.
    All,
    /// Only these runs; empty: no events at all.
    Runs(Vec<RunId>),
}

/// The future outcome of an accepted append.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Appended>>);

impl Receipt {
    /// Creates a receipt and the sender through which the store reports the outcome.
    #[must_use]
    pub fn new() -> (oneshot::Sender<Result<Appended>>, Self) {
        let (outcome, receipt) = oneshot::channel();
        (outcome, Self(receipt))
    }

    /// Waits until the append is durable or has failed.
    pub async fn stored(self) -> Result<Appended> {
        // // A store answers every accepted append. A dropped sender means that the store is gone: the outcome is
        // unknown.
        self.0.await.unwrap_or(Err(Error::OutcomeUnknown))
    }
}

/// The durable log.
///
/// Every method may fail with `StoreUnavailable`, `StoreLost`, `StoreDamaged` or `Internal`. An append that fails with
/// one of these errors has stored no event and never will. Events that do not match their checksum are never returned:
/// a read fails with `EventDamaged`, and a page ends before the damaged events unless the page begins with them.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Queues an append and returns after the append has a place in the queue. Appends are stored in the order in which
    /// their `submit` calls returned. The receipt reports the outcome; dropping the receipt does not cancel the append.
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
    async fn submit(&self, append: Append) -> Result<Receipt>;

    /// Submits an append and waits for the outcome. On success the events are durable.
    async fn append(&self, append: Append) -> Result<Appended> {
        self.submit(append).await?.stored().await
    }

    /// Reads a part of a scope. Every event acknowledged before the call is visible. Fails with `RunNotFound`.
    async fn read(&self, scope: &Scope, range: Range) -> Result<Page>;

    /// Current end of the scope. Fails with `RunNotFound`.
    async fn scope_end(&self, scope: &Scope) -> Result<ScopeEnd>;

    /// One run with its documents. Fails with `RunNotFound`.
    async fn run(&self, run_id: &RunId) -> Result<Run>;

    /// One page of runs with their documents, newest first.
    async fn runs(&self, query: &RunQuery) -> Result<RunsPage>;

    /// Number of matching runs; `before` and `limit` are ignored.
    async fn count_runs(&self, query: &RunQuery) -> Result<u64>;

    /// Ids of the matching runs, newest first, after the first `offset` runs; at most `limit` ids. `before` is ignored.
    async fn run_ids_at(&self, query: &RunQuery, offset: u64) -> Result<Vec<RunId>>;

    /// The event with this id, in the given run or in any run; with several matches, any of them. Fails with
    /// `EventNotFound`.
    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event>;

    /// Compares the next rows of the log after this position with their checksums; 0: from the beginning. One call
    /// reads at most a few MiB.
    async fn scrub(&self, after: u64) -> Result<Scrubbed>;

    /// Kind of the store: `sqlite` or `postgresql`.
    fn kind(&self) -> &'static str;

    /// Id of the feed and epochs of the store. A new history replaces the old one after the store was found to have
    /// gone back in time.
    fn history(&self) -> Arc<History>;

    /// Number of changes of [`history`](Self::history). Events read under an earlier generation may no longer be
    /// stored.
    fn generation(&self) -> u64;

    /// Last seq of the run at or before this position of the feed; 0 if the run has no such event. Fails with
    /// `RunNotFound`.
    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64>;

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
