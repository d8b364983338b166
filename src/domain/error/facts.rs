//! What transports show of an error: category, reason, field, retry and metadata.

use std::borrow::Cow;
use std::time::Duration;

use super::{BackupRefusal, Error};
use crate::domain::access::{Excess, KeyProblem};

/// Category of an error. Transports map it to a gRPC code or an HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request can never succeed as sent; the error names the field.
    InvalidArgument,
    /// The caller has no valid key.
    Unauthenticated,
    /// The key of the caller does not allow the request.
    PermissionDenied,
    /// The cursor is past the last event, before the first one that is kept, or belongs to a lost history.
    OutOfRange,
    /// The run or event does not exist.
    NotFound,
    /// The id is in use with other content.
    AlreadyExists,
    /// The status or the questions of the run do not allow the request.
    FailedPrecondition,
    /// Conflict with a concurrent request; read again before a retry.
    Aborted,
    /// A limit of the server or the disk is reached; a later retry may succeed.
    ResourceExhausted,
    /// The server cannot serve now, or the commit is in doubt; a later retry may succeed.
    Unavailable,
    /// A defect; the server's log has the detail.
    Internal,
    /// Stored data is damaged.
    DataLoss,
}

impl Error {
    /// Category of the error, for the status of the transport.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::InvalidField { .. } | Self::CursorInvalid { .. } => Code::InvalidArgument,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::ScopeMissing { .. } | Self::OutsideToken | Self::DefaultProjectNeeded => Code::PermissionDenied,
            Self::CursorBeyondEnd { .. }
            | Self::HistoryLost { .. }
            | Self::CursorExpired { .. }
            | Self::EventsExpired { .. } => Code::OutOfRange,
            Self::RunNotFound { .. } | Self::EventNotFound { .. } | Self::KeyNotFound { .. } => Code::NotFound,
            Self::RunExists { .. }
            | Self::EventIdConflict { .. }
            | Self::EventIdTwice { .. }
            | Self::KeyExists { .. } => Code::AlreadyExists,
            Self::FinalStatus { .. }
            | Self::ControlRefused { .. }
            | Self::NotAwaited { .. }
            | Self::Backup(BackupRefusal::Unsupported)
            | Self::KeyEnded { .. } => Code::FailedPrecondition,
            Self::SeqConflict { .. } | Self::RunChanged { .. } => Code::Aborted,
            Self::Overloaded { .. }
            | Self::RateLimited(_)
            | Self::Backup(BackupRefusal::InProgress | BackupRefusal::NoSpace { .. })
            | Self::StoreFull => Code::ResourceExhausted,
            Self::ShuttingDown
            | Self::StoreReadOnly
            | Self::StoreUnavailable
            | Self::StoreLost { .. }
            | Self::OutcomeUnknown => Code::Unavailable,
            Self::StoreDamaged | Self::EventDamaged { .. } => Code::DataLoss,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// The machine-readable reason in UPPER_SNAKE, part of the public API and never changed.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidField { .. } => "INVALID_FIELD",
            Self::Unauthenticated(KeyProblem::Missing) => "API_KEY_MISSING",
            Self::Unauthenticated(KeyProblem::Invalid) => "API_KEY_INVALID",
            Self::Unauthenticated(KeyProblem::Expired) => "API_KEY_EXPIRED",
            Self::Unauthenticated(KeyProblem::Revoked) => "API_KEY_REVOKED",
            Self::Unauthenticated(KeyProblem::TokenInvalid) => "STREAM_TOKEN_INVALID",
            Self::Unauthenticated(KeyProblem::TokenExpired) => "STREAM_TOKEN_EXPIRED",
            Self::OutsideToken => "STREAM_TOKEN_SCOPE",
            Self::ScopeMissing { .. } => "SCOPE_MISSING",
            Self::DefaultProjectNeeded => "DEFAULT_PROJECT_NEEDED",
            Self::KeyNotFound { .. } => "KEY_NOT_FOUND",
            Self::KeyExists { .. } => "KEY_EXISTS",
            Self::KeyEnded { .. } => "KEY_ENDED",
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
            Self::CursorExpired { .. } | Self::EventsExpired { .. } => "CURSOR_EXPIRED",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::RateLimited(_) => "RATE_LIMITED",
            Self::Backup(BackupRefusal::Unsupported) => "BACKUP_UNSUPPORTED",
            Self::Backup(BackupRefusal::InProgress) => "BACKUP_IN_PROGRESS",
            Self::Backup(BackupRefusal::NoSpace { .. }) => "BACKUP_NO_SPACE",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::StoreFull => "STORE_FULL",
            Self::StoreReadOnly => "STORE_READ_ONLY",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::StoreLost { .. } => "STORE_LOST",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::StoreDamaged => "STORE_DAMAGED",
            Self::EventDamaged { .. } => "EVENT_DAMAGED",
            Self::Internal(_) => "INTERNAL",
        }
    }

    /// Path of the invalid field of the request; `None`: the error is not about a field.
    #[must_use]
    pub fn field(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::InvalidField { field, .. } => Some(field.into()),
            Self::CursorInvalid { .. }
            | Self::CursorBeyondEnd { .. }
            | Self::HistoryLost { .. }
            | Self::CursorExpired { .. } => Some("cursor".into()),
            Self::EventIdConflict { index: Some(index), .. } | Self::EventIdTwice { index, .. } => {
                Some(format!("events[{index}].event_id").into())
            }
            Self::FinalStatus { index: Some(index), .. } => Some(format!("events[{index}].type").into()),
            _ => None,
        }
    }

    /// Suggested wait before a retry of the same request; `None`: a retry does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } | Self::RateLimited(Excess { retry_after, .. }) => Some(*retry_after),
            Self::ShuttingDown | Self::StoreUnavailable | Self::OutcomeUnknown => Some(Duration::from_secs(1)),
            Self::StoreFull | Self::StoreReadOnly | Self::Backup(BackupRefusal::InProgress) => {
                Some(Duration::from_secs(10))
            }
            _ => None,
        }
    }

    /// Details for programs: the metadata of gRPC's `ErrorInfo`, and members of a JSON error.
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
            Self::RateLimited(Excess { limit, quota, retry_after }) => {
                let window = limit.window().map(|window| ("window_seconds", window.as_secs().to_string()));
                let limit = [("limit", limit.as_str().to_owned()), ("quota", quota.to_string())];
                let retry = [("retry_after_ms", retry_after.as_millis().to_string())];
                limit.into_iter().chain(window).chain(retry).collect()
            }
            Self::ScopeMissing { scope } => vec![("scope", scope.to_string())],
            Self::Backup(BackupRefusal::NoSpace { needed_bytes, free_bytes, .. }) => {
                vec![("needed_bytes", needed_bytes.to_string()), ("free_bytes", free_bytes.to_string())]
            }
            Self::KeyNotFound { key_id } | Self::KeyExists { key_id } | Self::KeyEnded { key_id } => {
                vec![("key_id", key_id.clone())]
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
            Self::CursorExpired { cursor, first } => {
                vec![("cursor", cursor.clone()), ("first_cursor", first.clone())]
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
