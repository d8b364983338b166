//! The error enum of runlog.

mod backup;
mod changes;
mod facts;
mod text;

use std::fmt;
use std::time::Duration;

use super::access::{Excess, KeyProblem, KeyScope};
use super::run_status::RunStatus;
pub use backup::BackupRefusal;
pub use facts::Code;
use text::{agreed_text, damage_text};

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// All errors of the service and of the stores. The text is for clients: it says how to proceed and contains no internal
/// detail.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A field of the request has an invalid value.
    #[error("{field}: {problem}")]
    InvalidField {
        /// Path of the field in the spelling of the request, such as `events[2].payload.json`.
        field: String,
        /// The violated rule.
        problem: String,
    },
    /// The run has no events.
    #[error("run {run_id:?} not found")]
    RunNotFound {
        /// The requested run.
        run_id: String,
    },
    /// No event has this id.
    #[error("event {event_id:?} not found")]
    EventNotFound {
        /// The requested id.
        event_id: String,
    },
    /// The status of the run does not allow the control request (cancel, resume …).
    #[error("run {run_id:?} is {status}; {action} is not possible from there")]
    ControlRefused {
        /// Id of the run.
        run_id: String,
        /// Name of the requested action.
        action: &'static str,
        /// Current status of the run.
        status: RunStatus,
    },
    /// The run to create exists, created by another request.
    #[error("run {run_id:?} exists already")]
    RunExists {
        /// Id of the run.
        run_id: String,
    },
    /// A stored event has the same id and other content.
    #[error("event_id {event_id:?} of run {run_id:?} is taken by event {seq} with other content; use a new event_id")]
    EventIdConflict {
        /// Id of the run.
        run_id: String,
        /// The repeated id.
        event_id: String,
        /// Seq of the stored event with this id.
        seq: u64,
        /// Index of the event in the request, from 0; `None` if the request has no list of events.
        index: Option<usize>,
    },
    /// Two events of one request have the same id and different content.
    #[error(
        "two events of this request have the event_id {event_id:?} and different content; nothing of it was stored; give \
         each its own event_id"
    )]
    EventIdTwice {
        /// The repeated id.
        event_id: String,
        /// Index of the second event in the request, from 0.
        index: usize,
    },
    /// The run changed between the check of the request and its commit.
    #[error("run {run_id:?} changed meanwhile; look at it again, then decide")]
    RunChanged {
        /// Id of the run.
        run_id: String,
    },
    /// The run has no open question, or the question named by the answer is not open.
    #[error("{action} is not possible: run {run_id:?} {problem}")]
    NotAwaited {
        /// Id of the run.
        run_id: String,
        /// Name of the requested action.
        action: &'static str,
        /// The missing question.
        problem: &'static str,
    },
    /// `expected_last_seq` differs from the last seq of the run.
    #[error(
        "run {run_id:?} ends at seq {actual}, not at the expected {expected}; read what came since and decide again"
    )]
    SeqConflict {
        /// Id of the run.
        run_id: String,
        /// Last seq expected by the producer.
        expected: u64,
        /// Last seq stored.
        actual: u64,
    },
    /// Under `--lifecycle=strict`, the event would change a final status.
    #[error("run {run_id:?} is {from}, which is final; event type {event_type:?} would make it {to}")]
    FinalStatus {
        /// Id of the run.
        run_id: String,
        /// Final status of the run.
        from: RunStatus,
        /// Status that the event would set.
        to: RunStatus,
        /// Type of the event.
        event_type: String,
        /// Index of the event in the request, from 0; `None` if the request has no list of events.
        index: Option<usize>,
    },
    /// The caller has no key, or one that is not valid.
    #[error("{0}")]
    Unauthenticated(KeyProblem),
    /// The key of the caller does not allow the request.
    #[error("the key has no scope {scope}, which this request needs")]
    ScopeMissing {
        /// The missing scope.
        scope: KeyScope,
    },
    /// The stream token of the caller does not allow the request, whether the run exists or not.
    #[error("the stream token is for reading the events of its own run, and for nothing else")]
    OutsideToken,
    /// The key belongs to another project than `default`, and the request is about the whole store.
    #[error("this is about all projects of the store; it needs an admin key of the project default")]
    DefaultProjectNeeded,
    /// No key has this id.
    #[error("key {key_id:?} not found")]
    KeyNotFound {
        /// The requested key.
        key_id: String,
    },
    /// A key with this id exists.
    #[error("key {key_id:?} exists already")]
    KeyExists {
        /// Id of the key.
        key_id: String,
    },
    /// A revoked or expired key cannot be rotated.
    #[error("key {key_id:?} is revoked or expired; create another one")]
    KeyEnded {
        /// Id of the key.
        key_id: String,
    },
    /// The text is not a cursor of this scope.
    #[error("cursor {cursor:?}: {problem}")]
    CursorInvalid {
        /// The cursor as sent; a long text is cut.
        cursor: String,
        /// The violated rule.
        problem: &'static str,
    },
    /// The cursor is past the last stored event: a cursor of another store, or of one that was lost.
    #[error("cursor {cursor:?} lies past the end, which is {end:?}; start from there or from the beginning")]
    CursorBeyondEnd {
        /// The cursor as sent; a long text is cut.
        cursor: String,
        /// Cursor of the last stored event.
        end: String,
    },
    /// The cursor belongs to a history that the store has lost: a backup was restored, or a standby without the last commits
    /// was promoted.
    #[error("cursor {cursor:?} is of a history that the store has lost; {}", agreed_text(end.as_deref()))]
    HistoryLost {
        /// The cursor as sent; a long text is cut.
        cursor: String,
        /// Last cursor that both histories share; `None`: not known.
        end: Option<String>,
    },
    /// The events after the cursor are removed by the retention of the server.
    #[error("events after cursor {cursor:?} are not kept any more; the first ones kept follow {first:?}")]
    CursorExpired {
        /// The cursor as sent; a long text is cut.
        cursor: String,
        /// Cursor before the first event that is kept.
        first: String,
    },
    /// The range to read begins with events that are removed by the retention; stores answer so.
    #[error("events before {first} are not kept any more")]
    EventsExpired {
        /// Offset of the first event that is kept.
        first: u64,
    },
    /// A limit of waiting or concurrent work is reached.
    #[error("{what}; retry after {} ms", retry_after.as_millis())]
    Overloaded {
        /// The limit, as the first part of the message.
        what: &'static str,
        /// Suggested wait before a retry.
        retry_after: Duration,
    },
    /// The key or the address of the caller is over one of its limits.
    #[error("{0}")]
    RateLimited(Excess),
    /// No backup is made.
    #[error("{0}")]
    Backup(BackupRefusal),
    /// The server is draining its connections before its exit.
    #[error("the server is shutting down; reconnect and resume from your cursor")]
    ShuttingDown,
    /// The disk is full.
    #[error("the store has no space left; nothing of this request was stored; free space and retry")]
    StoreFull,
    /// The store does not accept writes.
    #[error("the store is read-only; nothing of this request was stored")]
    StoreReadOnly,
    /// The store does not answer, and no event of the request is stored, now or later.
    #[error("the store is unavailable; nothing of this request was stored; retry")]
    StoreUnavailable,
    /// The files of the store were removed or replaced while the server ran. Final until a restart.
    #[error("{problem}; nothing of this request was stored, and nothing is served until the server is restarted")]
    StoreLost {
        /// The change of the files.
        problem: &'static str,
    },
    /// In-doubt commit: handed over to the store without a result in time. The commit may be stored, now or later.
    #[error(
        "whether this request was stored is not known; send it again with the same event_id, which stores it once, or read \
         the run first: without an event_id it may be stored twice"
    )]
    OutcomeUnknown,
    /// The stored data is inconsistent.
    #[error("the store is damaged; run an integrity check and restore from a backup")]
    StoreDamaged,
    /// Stored events do not match their checksum. All other events are served.
    #[error("{}", damage_text(run_id.as_deref(), *seqs))]
    EventDamaged {
        /// Id of the run; `None`: not known.
        run_id: Option<String>,
        /// First and last damaged seq within the requested range; `None`: not known.
        seqs: Option<(u64, u64)>,
    },
    /// A defect in runlog; the cause is in the server's log.
    #[error("internal error; the server's log has the detail")]
    Internal(Logged),
}

/// Proof that the cause of an internal error was logged: only [`Error::internal`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged(());

impl Error {
    /// An [`Error::InvalidField`].
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), problem: problem.into() }
    }

    /// An internal error. The cause goes to the log, since callers cannot act on it.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "internal error");
        Self::Internal(Logged(()))
    }
}
