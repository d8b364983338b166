//! The one error of runlog.

use std::borrow::Cow;
use std::time::Duration;

use super::run::RunStatus;

/// Result with the one [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, as every transport needs it: what the caller did or has to do, not where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request can never succeed as it is; a field is named.
    InvalidArgument,
    /// The cursor lies past the end of what is stored.
    OutOfRange,
    /// No such run or event.
    NotFound,
    /// The same id was used for something else.
    AlreadyExists,
    /// The run is not in the state that the request needs.
    FailedPrecondition,
    /// Somebody else was faster; read again, then decide.
    Aborted,
    /// A bound was hit that waiting may lift.
    ResourceExhausted,
    /// The server cannot serve now; the same request may work later.
    Unavailable,
    /// A defect or a damaged store; the log holds the detail.
    Internal,
    /// The stored data is damaged.
    DataLoss,
}

/// Everything that can go wrong. The text is for the caller: it says what to do and holds no internal detail.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A field of the request is outside what it may be. `field` is the path as the request spells it.
    #[error("{field}: {problem}")]
    InvalidField {
        /// Path of the field, such as `events[2].payload.json`.
        field: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// The run has no event yet.
    #[error("run {run_id:?} not found")]
    RunNotFound {
        /// The run asked for.
        run_id: String,
    },
    /// No event has this id.
    #[error("event {event_id:?} not found")]
    EventNotFound {
        /// The id asked for.
        event_id: String,
    },
    /// The run is not in a state from which this is possible.
    #[error("run {run_id:?} is {status}; {action} is not possible from there")]
    ControlRefused {
        /// The run.
        run_id: String,
        /// What was asked of it.
        action: &'static str,
        /// Where it stands.
        status: RunStatus,
    },
    /// The run that was to be created exists and was created by another request.
    #[error("run {run_id:?} exists already")]
    RunExists {
        /// The run.
        run_id: String,
    },
    /// The event id is taken by an event with other content.
    #[error("event_id {event_id:?} of run {run_id:?} is taken by event {seq} with other content; use a new event_id")]
    EventIdConflict {
        /// The run.
        run_id: String,
        /// The id used twice.
        event_id: String,
        /// Where the first event with this id lies.
        seq: u64,
        /// The place of the event in the request, from 0; none where the request has no events.
        index: Option<usize>,
    },
    /// Two events of one request have the same id and other content.
    #[error(
        "two events of this request have the event_id {event_id:?} and different content; nothing of it was stored; give \
         each its own event_id"
    )]
    EventIdTwice {
        /// The id used twice.
        event_id: String,
        /// The place of the second one in the request, from 0.
        index: usize,
    },
    /// The run is not as it was when the request was made for it.
    #[error("run {run_id:?} changed meanwhile; look at it again, then decide")]
    RunChanged {
        /// The run.
        run_id: String,
    },
    /// The run waits on no question, or not on the one that the answer names.
    #[error("{action} is not possible: run {run_id:?} {problem}")]
    NotAwaited {
        /// The run.
        run_id: String,
        /// What was asked of it.
        action: &'static str,
        /// Which question is not open.
        problem: &'static str,
    },
    /// `expected_last_seq` does not hold.
    #[error(
        "run {run_id:?} ends at seq {actual}, not at the expected {expected}; read what came since and decide again"
    )]
    SeqConflict {
        /// The run.
        run_id: String,
        /// What the publisher expected.
        expected: u64,
        /// What is stored.
        actual: u64,
    },
    /// `--lifecycle=strict` and the run is over.
    #[error("run {run_id:?} is {from}, which is final; event type {event_type:?} would make it {to}")]
    FinalStatus {
        /// The run.
        run_id: String,
        /// The final status it has.
        from: RunStatus,
        /// The status the event asks for.
        to: RunStatus,
        /// The event's type.
        event_type: String,
        /// The place of the event in the request, from 0; none where the request has no events.
        index: Option<usize>,
    },
    /// The cursor is no cursor of this scope.
    #[error("cursor {cursor:?}: {problem}")]
    CursorInvalid {
        /// The cursor as given.
        cursor: String,
        /// Why it cannot be used.
        problem: &'static str,
    },
    /// The cursor lies past the last stored event: it comes from another store, or from one that was lost.
    #[error("cursor {cursor:?} lies past the end, which is {end:?}; start from there or from the beginning")]
    CursorBeyondEnd {
        /// The cursor as given.
        cursor: String,
        /// The cursor of the last stored event.
        end: String,
    },
    /// The cursor was given in a history that the store does not have any more: an older copy of its data was put back, or a
    /// standby that lacked the last commits was promoted.
    #[error("cursor {cursor:?} is of a history that the store has lost; {}", agreed_text(end.as_deref()))]
    HistoryLost {
        /// The cursor as given.
        cursor: String,
        /// The last cursor up to which both histories are the same; none where that is not known.
        end: Option<String>,
    },
    /// Too much waits already.
    #[error("{what}; retry after {} ms", retry_after.as_millis())]
    Overloaded {
        /// Which bound was hit.
        what: &'static str,
        /// When a retry makes sense.
        retry_after: Duration,
    },
    /// The server drains.
    #[error("the server is shutting down; reconnect and resume from your cursor")]
    ShuttingDown,
    /// The disk is full.
    #[error("the store has no space left; nothing of this request was stored; free space and retry")]
    StoreFull,
    /// The store cannot be written.
    #[error("the store is read-only; nothing of this request was stored")]
    StoreReadOnly,
    /// The store does not answer, and nothing of the request reached it or ever will.
    #[error("the store is unavailable; nothing of this request was stored; retry")]
    StoreUnavailable,
    /// The store's files were taken away beneath the server, and it never serves again.
    #[error("{problem}; nothing of this request was stored, and nothing is served until the server is restarted")]
    StoreLost {
        /// What happened to them.
        problem: &'static str,
    },
    /// The commit was handed over and not answered: it may have happened, or may still happen.
    #[error(
        "whether this request was stored is not known; send it again with the same event_id, which stores it once, or read \
         the run first: without an event_id it may be stored twice"
    )]
    OutcomeUnknown,
    /// The stored data contradicts itself.
    #[error("the store is damaged; run an integrity check and restore from a backup")]
    StoreDamaged,
    /// Stored events do not agree with their checksum. Others are served.
    #[error("{}", damage_text(run_id.as_deref(), *seqs))]
    EventDamaged {
        /// The run, where it is known.
        run_id: Option<String>,
        /// The first and the last seq of what is damaged of that which was asked for, where they are known.
        seqs: Option<(u64, u64)>,
    },
    /// A defect.
    #[error("internal error; the server's log has the detail")]
    Internal,
}

impl Error {
    /// An [`Error::InvalidField`].
    pub fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidField { field: field.into(), problem: problem.into() }
    }

    /// Puts `prefix.` before the field, for a value that sits inside another.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        match self {
            Self::InvalidField { field, problem } if field.is_empty() => Self::invalid(prefix, problem),
            Self::InvalidField { field, problem } if field.starts_with('[') => {
                Self::invalid(format!("{prefix}{field}"), problem)
            }
            Self::InvalidField { field, problem } => Self::invalid(format!("{prefix}.{field}"), problem),
            other => other,
        }
    }

    /// The same under the name that the field has where the value comes from.
    #[must_use]
    pub fn with_field(self, field: impl Into<String>) -> Self {
        match self {
            Self::InvalidField { problem, .. } => Self::invalid(field, problem),
            other => other,
        }
    }

    /// The same for a request that stored something before it failed: what says that nothing was stored becomes
    /// [`Error::OutcomeUnknown`].
    #[must_use]
    pub fn after_commit(self) -> Self {
        match self {
            Self::StoreUnavailable
            | Self::StoreLost { .. }
            | Self::StoreReadOnly
            | Self::StoreFull
            | Self::ShuttingDown => Self::OutcomeUnknown,
            other => other,
        }
    }

    /// Says which event of the request the error is about, where it is about one; none where the request has no events.
    #[must_use]
    pub fn of_event(mut self, place: Option<usize>) -> Self {
        if let Self::FinalStatus { index, .. } | Self::EventIdConflict { index, .. } = &mut self {
            *index = place;
        }
        self
    }

    /// The kind.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::InvalidField { .. } | Self::CursorInvalid { .. } => Code::InvalidArgument,
            Self::CursorBeyondEnd { .. } | Self::HistoryLost { .. } => Code::OutOfRange,
            Self::RunNotFound { .. } | Self::EventNotFound { .. } => Code::NotFound,
            Self::RunExists { .. } | Self::EventIdConflict { .. } | Self::EventIdTwice { .. } => Code::AlreadyExists,
            Self::FinalStatus { .. } | Self::ControlRefused { .. } | Self::NotAwaited { .. } => {
                Code::FailedPrecondition
            }
            Self::SeqConflict { .. } | Self::RunChanged { .. } => Code::Aborted,
            Self::Overloaded { .. } | Self::StoreFull => Code::ResourceExhausted,
            Self::ShuttingDown
            | Self::StoreReadOnly
            | Self::StoreUnavailable
            | Self::StoreLost { .. }
            | Self::OutcomeUnknown => Code::Unavailable,
            Self::StoreDamaged | Self::EventDamaged { .. } => Code::DataLoss,
            Self::Internal => Code::Internal,
        }
    }

    /// The machine-readable reason, UPPER_SNAKE, stable for ever.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidField { .. } => "INVALID_FIELD",
            Self::RunNotFound { .. } => "RUN_NOT_FOUND",
            Self::EventNotFound { .. } => "EVENT_NOT_FOUND",
            Self::ControlRefused { .. } | Self::NotAwaited { .. } => "CONTROL_REFUSED",
            Self::RunExists { .. } => "RUN_EXISTS",
            Self::EventIdConflict { .. } | Self::EventIdTwice { .. } => "EVENT_ID_CONFLICT",
            Self::RunChanged { .. } => "RUN_CHANGED",
            Self::SeqConflict { .. } => "SEQ_CONFLICT",
            Self::FinalStatus { .. } => "RUN_STATUS_FINAL",
            Self::CursorInvalid { .. } => "CURSOR_INVALID",
            Self::CursorBeyondEnd { .. } => "CURSOR_BEYOND_END",
            Self::HistoryLost { .. } => "HISTORY_LOST",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::StoreFull => "STORE_FULL",
            Self::StoreReadOnly => "STORE_READ_ONLY",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::StoreLost { .. } => "STORE_LOST",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::StoreDamaged => "STORE_DAMAGED",
            Self::EventDamaged { .. } => "EVENT_DAMAGED",
            Self::Internal => "INTERNAL",
        }
    }

    /// The request field at fault, if it is one.
    #[must_use]
    pub fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::InvalidField { field, .. } => Some(field.into()),
            Self::CursorInvalid { .. } | Self::CursorBeyondEnd { .. } | Self::HistoryLost { .. } => {
                Some("cursor".into())
            }
            Self::EventIdConflict { index: Some(index), .. } | Self::EventIdTwice { index, .. } => {
                Some(format!("events[{index}].event_id").into())
            }
            Self::FinalStatus { index: Some(index), .. } => Some(format!("events[{index}].type").into()),
            _ => None,
        }
    }

    /// When the same request may work; `None` where waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::ShuttingDown | Self::StoreUnavailable | Self::OutcomeUnknown => Some(Duration::from_secs(1)),
            Self::StoreFull | Self::StoreReadOnly => Some(Duration::from_secs(10)),
            _ => None,
        }
    }

    /// The facts of the error by name, for a program that reacts to it.
    #[must_use]
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        let field = self.field().map(|field| ("field", field.into_owned()));
        self.facts().into_iter().chain(field).collect()
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::RunNotFound { run_id } | Self::RunExists { run_id } | Self::RunChanged { run_id } => {
                vec![("run_id", run_id.clone())]
            }
            Self::EventIdTwice { event_id, .. } => vec![("event_id", event_id.clone())],
            Self::NotAwaited { run_id, action, .. } => {
                vec![("run_id", run_id.clone()), ("action", (*action).to_owned())]
            }
            Self::EventNotFound { event_id } => vec![("event_id", event_id.clone())],
            Self::ControlRefused { run_id, action, status } => {
                vec![("run_id", run_id.clone()), ("action", (*action).to_owned()), ("status", status.to_string())]
            }
            Self::EventIdConflict { run_id, event_id, seq, .. } => {
                vec![("run_id", run_id.clone()), ("event_id", event_id.clone()), ("seq", seq.to_string())]
            }
            Self::SeqConflict { run_id, expected, actual } => vec![
                ("run_id", run_id.clone()),
                ("expected_last_seq", expected.to_string()),
                ("last_seq", actual.to_string()),
            ],
            Self::FinalStatus { run_id, from, to, .. } => {
                vec![("run_id", run_id.clone()), ("status", from.to_string()), ("refused_status", to.to_string())]
            }
            Self::CursorInvalid { cursor, .. } => vec![("cursor", cursor.clone())],
            Self::CursorBeyondEnd { cursor, end } => vec![("cursor", cursor.clone()), ("end_cursor", end.clone())],
            Self::HistoryLost { cursor, end } => {
                let end = end.clone().map(|end| ("agreed_cursor", end));
                [("cursor", cursor.clone())].into_iter().chain(end).collect()
            }
            Self::EventDamaged { run_id, seqs } => {
                let run_id = run_id.clone().map(|run_id| ("run_id", run_id));
                let seqs = seqs.map(|(first, last)| [("seq", first.to_string()), ("last_seq", last.to_string())]);
                run_id.into_iter().chain(seqs.into_iter().flatten()).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What a reader does whose cursor is lost.
fn agreed_text(end: Option<&str>) -> String {
    match end {
        Some(end) => format!("both agree up to cursor {end:?}: drop what came after it and read on from there"),
        None => "how far both agree is not known: read again from the beginning".to_owned(),
    }
}

/// What a reader of damaged events learns.
fn damage_text(run_id: Option<&str>, seqs: Option<(u64, u64)>) -> String {
    let what = match (run_id, seqs) {
        (Some(run_id), Some((first, last))) if first == last => format!("event {first} of run {run_id:?} is"),
        (Some(run_id), Some((first, last))) => format!("events {first} to {last} of run {run_id:?} are"),
        (Some(run_id), None) => format!("an event of run {run_id:?} is"),
        _ => "an event is".to_owned(),
    };
    format!("{what} damaged in the store and cannot be served; all others are; restore it from a backup")
}
