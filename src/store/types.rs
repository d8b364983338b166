//! Values of the store's contract: appends, pages, commits.

use std::future::Ready;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{BoxFuture, Either};
use tokio::sync::oneshot;

use super::{ProjectNumber, Recorded};
use crate::codec::Chunk;
use crate::domain::event::Appended;
use crate::domain::{AgentName, Error, NewEvent, Result, Run, RunFilter, RunId, RunStatus, StructureId};

/// One publish request: events for one run. What few appends have is boxed, because appends are moved often.
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
    pub recorded: Option<Box<Recorded>>,
    /// Event that ends the run, added after the others if one of them is new and the run has not ended by then. The condition does
    /// not count it, and its result is not returned.
    pub completion: Option<Box<NewEvent>>,
    /// Of appends with the same sequence none is in an earlier commit than one that was submitted before, whatever their runs.
    pub sequence: Option<Sequence>,
}

impl Append {
    /// A publish of these events without a condition.
    #[must_use]
    pub fn new(run_id: RunId, events: Vec<NewEvent>) -> Self {
        let (agent_name, structure_id, recorded) = (None, None, None);
        Self { run_id, events, condition: None, agent_name, structure_id, recorded, completion: None, sequence: None }
    }

    /// Whether the append may wait for further deltas: a publish of deltas alone, without a condition.
    pub(super) fn may_wait(&self) -> bool {
        let is_plain = self.condition.is_none() && self.recorded.is_none() && self.completion.is_none();
        is_plain && self.events.iter().all(|event| event.event_type.is_delta())
    }
}

/// Appends of several runs whose order counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(NonZeroU64);

impl Sequence {
    /// A new sequence.
    #[must_use]
    pub fn begin() -> Self {
        static BEGUN: AtomicU64 = AtomicU64::new(1);
        Self(NonZeroU64::new(BEGUN.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX))
    }
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
    pub(super) fn check(self, run: &Run) -> Result<()> {
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

/// Start and direction of a read. An offset is a seq in a run, a position in the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Events after this offset, from older to newer.
    After(u64),
    /// Events before this offset, from newer to older.
    Before(u64),
    /// Events from the end of the scope on, from newer to older.
    End,
}

impl ReadFrom {
    /// Whether the read goes from newer to older events.
    #[must_use]
    pub fn is_descending(self) -> bool {
        !matches!(self, Self::After(_))
    }

    /// Lowest offset that may be read.
    pub(super) fn lowest(self) -> u64 {
        if let Self::After(offset) = self { offset.saturating_add(1) } else { 1 }
    }

    /// Highest offset that may be read.
    pub(super) fn highest(self) -> u64 {
        if let Self::Before(offset) = self { offset.saturating_sub(1) } else { u64::MAX }
    }
}

/// The part of a scope to read.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Start and direction.
    pub from: ReadFrom,
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

/// Kept part of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeExtent {
    /// First offset that is kept; one more than the last if no event is.
    pub first: u64,
    /// End of the scope.
    pub end: ScopeEnd,
}

/// Events of a scope, returned by one read.
#[derive(Clone, Debug)]
pub struct Page {
    /// Chunks without gaps between them, ascending or descending as requested; the events inside a chunk always ascend.
    pub chunks: Vec<Chunk>,
    /// End of the scope at, or before, the moment when the chunks were read.
    pub scope_end: ScopeEnd,
    /// First offset of the scope that is kept; one more than the last if no event is.
    pub first: u64,
}

/// Result of one slice of retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Position up to which events were examined; the next slice continues after it.
    pub examined: u64,
    /// Whether all events that may be removed by now are examined.
    pub is_done: bool,
    /// Whether another removal in the project was under way, mostly at another replica, so that this call has examined nothing and
    /// counted no releases.
    pub is_elsewhere: bool,
    /// Whether anything was removed, also events that had lost their payload before.
    pub is_changed: bool,
    /// Number of events whose payload was removed.
    pub events: u64,
    /// Bytes of these payloads.
    pub bytes: u64,
    /// Number of releases of held runs so far, by whichever replica. After a change the next pass begins with the first event: those
    /// of a released run lie before what is examined.
    pub releases: u64,
}

/// Filter and page of a list of runs, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunQuery {
    /// The runs to list.
    pub filter: RunFilter,
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

/// What one commit added to a project, published after the commit is durable. Commits to a project are published in the order
/// of its feed.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The project.
    pub project: ProjectNumber,
    /// The runs with new events, each once.
    pub runs: Vec<RunCommit>,
    /// The same events in feed order; `first` is a position. Empty if only some runs are published, see [`Interest`].
    pub feed: Vec<Chunk>,
    /// End of the feed after the commit.
    pub feed_end: ScopeEnd,
}

impl Commit {
    /// A commit to runs without subscribers: carries only the last position of the feed.
    pub(super) fn nothing(project: ProjectNumber, last: u64) -> Self {
        let feed_end = ScopeEnd { last, status: RunStatus::Unspecified };
        Self { project, runs: Vec::new(), feed: Vec::new(), feed_end }
    }
}

/// The runs of a project that a listener follows, see [`CommitListener::interest`](super::CommitListener::interest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Every run of the project.
    All,
    /// Only these runs; empty: no events at all.
    Runs(Vec<RunId>),
}

/// An append that is about to be accepted: ready at once if the queue has space.
pub type Submitting<'a> = Either<Ready<Result<Receipt>>, BoxFuture<'a, Result<Receipt>>>;

/// The future outcome of an accepted append.
#[derive(Debug)]
pub struct Receipt {
    outcome: oneshot::Receiver<Result<Appended>>,
}

impl Receipt {
    /// Creates a receipt and the sender through which the store reports the outcome.
    #[must_use]
    pub fn new() -> (oneshot::Sender<Result<Appended>>, Self) {
        let (sender, outcome) = oneshot::channel();
        (sender, Self { outcome })
    }

    /// Waits until the append is durable or has failed.
    pub async fn stored(self) -> Result<Appended> {
        // A store answers every accepted append. A dropped sender means that the store is gone: the outcome is unknown.
        self.outcome.await.unwrap_or(Err(Error::OutcomeUnknown))
    }
}
