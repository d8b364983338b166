//! Where events are kept. The comments on [`Store`] are the contract; one test suite holds every store to it.

/// A point of `failpoints`: where a test demands it, the function returns with the failure, made an error of its own by the
/// function behind the name.
macro_rules! failpoint {
    ($point:literal, $error:expr) => {
        #[cfg(feature = "failpoints")]
        fail::fail_point!($point, |action| Err($error($crate::store::failpoints::act($point, action))));
    };
}

mod checksum;
pub mod commit;
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

/// A publish: events for one run.
#[derive(Clone, Debug)]
pub struct Append {
    /// The run; its first event creates it.
    pub run_id: RunId,
    /// At least one event, in order. An empty list appends nothing and is a defect of the caller.
    pub events: Vec<NewEvent>,
    /// What must be so if any event is new. `None` appends in any case.
    pub condition: Option<Condition>,
    /// The agent of the run, where the run has none yet.
    pub agent_name: Option<AgentName>,
    /// The structure of the run, where the run has none yet.
    pub structure_id: Option<StructureId>,
    /// `None`: a publish. Else the events were stored elsewhere before, and are stored as they are.
    pub recorded: Option<Recorded>,
}

/// What must be so of a run for new events to be stored. It is judged with the events that were committed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The run's last seq is this one; 0: the run does not exist. Else the append fails with `SeqConflict`.
    LastSeq(u64),
    /// The run has this status. Else the append fails with `RunChanged`, and so for the others below.
    Status(RunStatus),
    /// The run has not ended.
    NotEnded,
    /// The question that was asked at this seq is open.
    QuestionOpen(u64),
    /// Nothing may be new: only a repeat is answered.
    OnlyRepeat,
}

impl Condition {
    /// Checks it against the run as it is before the append.
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

/// Which part of a scope to read. Coordinates are seqs in a run and positions in the feed.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Exclusive: ascending reads what comes after it, descending what lies before it.
    pub from: u64,
    /// Newest first.
    pub descending: bool,
    /// Most events; at least 1.
    pub max_events: usize,
    /// Stop after the chunk with which the records exceed this many bytes. One event is always returned.
    pub max_bytes: usize,
}

/// Where a scope ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeEnd {
    /// The coordinate of the last event; 0 when there is none.
    pub last: u64,
    /// The run's status; [`RunStatus::Unspecified`] for the feed.
    pub status: RunStatus,
}

/// A part of a scope.
#[derive(Clone, Debug)]
pub struct Page {
    /// Chunks without a gap between them, ascending or descending as asked; the events inside a chunk always ascend.
    pub chunks: Vec<Chunk>,
    /// Where the scope ended when, or before, the chunks were read.
    pub scope_end: ScopeEnd,
}

/// Which runs to list: newest first.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// Only these; none: all.
    pub statuses: Vec<RunStatus>,
    /// Only runs of this agent.
    pub agent_name: Option<AgentName>,
    /// Only runs of this structure.
    pub structure_id: Option<StructureId>,
    /// Continue after the run with this number; `None` starts with the newest.
    pub before: Option<i64>,
    /// Most runs; at least 1.
    pub limit: usize,
}

/// Some runs.
#[derive(Clone, Debug)]
pub struct RunsPage {
    /// Newest first.
    pub runs: Vec<Run>,
    /// Give it back as `before` to go on; `None` at the end. A page may be short or empty and still have a next one,
    /// since one call looks at a bounded number of runs.
    pub next: Option<i64>,
}

/// What a commit added to one run, told after it is durable.
#[derive(Clone, Debug)]
pub struct RunCommit {
    /// The run.
    pub run_id: RunId,
    /// Its new events; `first` is a seq.
    pub chunks: Vec<Chunk>,
    /// The run after the commit.
    pub scope_end: ScopeEnd,
}

/// What one commit added, told after it is durable. Commits are told in their order.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Each run once.
    pub runs: Vec<RunCommit>,
    /// The same events in feed order; `first` is a position. Empty where only some runs are told, see [`Interest`].
    pub feed: Vec<Chunk>,
    /// The feed after the commit.
    pub feed_end: ScopeEnd,
}

impl Commit {
    /// Of what nobody follows: how far the feed goes.
    fn nothing(last: u64) -> Self {
        Self { runs: Vec::new(), feed: Vec::new(), feed_end: ScopeEnd { last, status: RunStatus::Unspecified } }
    }
}

/// Hears of commits. Called from the commit path, so it must not block.
pub trait CommitListener: Send + Sync + 'static {
    /// One commit is durable.
    fn committed(&self, commit: Commit);

    /// The history of the store is not the one that it was: nothing of what was committed before may be taken for what is
    /// stored now. Called before anything of the new one is announced or read.
    fn history_changed(&self) {}

    /// Of which runs it has use for the events. A store that would have to read them, since another replica wrote them, asks
    /// this first, and tells of the others only how far the feed goes.
    fn interest(&self) -> Interest {
        Interest::All
    }
}

/// See [`CommitListener::interest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// All runs.
    All,
    /// These; none: nothing at all.
    Runs(Vec<RunId>),
}

/// The outcome of an append that a store has accepted.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Appended>>);

impl Receipt {
    /// The receipt, and where the store tells the outcome.
    #[must_use]
    pub fn new() -> (oneshot::Sender<Result<Appended>>, Self) {
        let (outcome, receipt) = oneshot::channel();
        (outcome, Self(receipt))
    }

    /// Waits until the append is durable or has failed.
    pub async fn stored(self) -> Result<Appended> {
        // A store answers all that it accepts; where it is gone, the outcome is not known.
        self.0.await.unwrap_or(Err(Error::OutcomeUnknown))
    }
}

/// The durable log.
///
/// Every method may fail with `StoreUnavailable`, `StoreLost`, `StoreDamaged` or `Internal`. Of an append these mean that
/// nothing of it is stored or will be. Events that do not agree with their checksum are never returned: what would return them
/// fails with `EventDamaged`, and a page ends before them, unless it begins with them.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Accepts an append and returns once it has its place in the queue: appends are stored in the order in which
    /// their `submit` returned. The receipt tells the outcome. Dropping it does not stop the append.
    ///
    /// All events are stored, or none. An event whose `event_id` the run has is not stored again: with the same content
    /// it is answered as a duplicate, with other content the whole append fails with `EventIdConflict`.
    /// The condition is checked when at least one event is new, and fails with `SeqConflict` or `RunChanged`. Seqs follow the
    /// run's last one without a gap; `recorded_at` never decreases in a run; the run's row changes in the same
    /// transaction. Fails with `FinalStatus` under a strict lifecycle, `StoreFull` and `StoreReadOnly`; and at once with
    /// `Overloaded` when the queue stays full, and `ShuttingDown` once closed.
    ///
    /// `OutcomeUnknown` where a commit was not answered in time: the append is stored, whole, or will be, or never is. It is
    /// not tried again. Appends that follow are answered truly all the same, and one with the same ids finds out.
    ///
    /// With `recorded` the events keep the times and ids that they bring, and their order in the feed across the appends
    /// of the import. No lifecycle refuses them, and an id that the run has is always an `EventIdConflict`, since a gap
    /// would be left where a repeat is not stored. A time before the one of the run's last event is an `InvalidField`.
    /// After the first append of an import that fails, all those after it fail with its error.
    async fn submit(&self, append: Append) -> Result<Receipt>;

    /// Submits and waits for the outcome: the events are durable.
    async fn append(&self, append: Append) -> Result<Appended> {
        self.submit(append).await?.stored().await
    }

    /// Reads a part of a scope. What was acknowledged before the call is seen. Fails with `RunNotFound`.
    async fn read(&self, scope: &Scope, range: Range) -> Result<Page>;

    /// Where the scope ends now. Fails with `RunNotFound`.
    async fn scope_end(&self, scope: &Scope) -> Result<ScopeEnd>;

    /// One run with its documents. Fails with `RunNotFound`.
    async fn run(&self, run_id: &RunId) -> Result<Run>;

    /// Runs, newest first, with their documents.
    async fn runs(&self, query: &RunQuery) -> Result<RunsPage>;

    /// How many runs match; `before` and `limit` do not count.
    async fn count_runs(&self, query: &RunQuery) -> Result<u64>;

    /// The ids of the matching runs after the newest `offset` ones, at most `limit`; `before` does not count.
    async fn run_ids_at(&self, query: &RunQuery, offset: u64) -> Result<Vec<RunId>>;

    /// The event with this id, in one run or in whatever run has it; of several, any. Fails with `EventNotFound`.
    async fn find_event(&self, run_id: Option<&RunId>, event_id: &EventId) -> Result<Event>;

    /// Compares the next rows of the log after this position with their checksums; 0: from the beginning. Reads some MiB at
    /// most.
    async fn scrub(&self, after: u64) -> Result<Scrubbed>;

    /// What it is: `sqlite` or `postgresql`.
    fn kind(&self) -> &'static str;

    /// The epochs of the store, and its feed. It is another one after the store was found to have gone back in time.
    fn history(&self) -> Arc<History>;

    /// How often [`history`](Self::history) has changed: what was read before such a change may not be stored any more.
    fn generation(&self) -> u64;

    /// The last seq of the run that was stored at or before this position of the feed; 0 where there is none. Fails with
    /// `RunNotFound`.
    async fn last_seq_at(&self, run_id: &RunId, position: u64) -> Result<u64>;

    /// Bytes that wait for their commit.
    fn queued_bytes(&self) -> usize;

    /// Whether the store answers and takes what is published, judged by the last publishes.
    async fn ready(&self) -> Result<()>;

    /// Resolves when the store never serves again: when the data is lost beneath it, with the `StoreLost` that every call fails
    /// with from then on; and with `Internal` when one of its tasks has ended by a defect.
    async fn lost(&self) -> Error;

    /// Finishes what was accepted and releases the store. Later appends fail with `ShuttingDown`.
    async fn close(&self);
}

/// A store in any of its kinds.
pub type SharedStore = Arc<dyn Store>;
