//! The only map from [`Error`] to gRPC statuses and HTTP statuses.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::{Code, Error};

/// Domain of the `ErrorInfo` in every status.
pub const DOMAIN: &str = "runlog";

/// What a gRPC error says.
pub struct Refusal<'a> {
    /// Code of the status.
    pub code: tonic::Code,
    /// Reason in UPPER_SNAKE.
    pub reason: &'a str,
    /// Text for a person: the field at fault and the correction.
    pub message: String,
    /// Path of the field at fault, as the request spells it.
    pub field: Option<&'a str>,
    /// Details by name.
    pub metadata: HashMap<String, String>,
    /// Delay until a retry makes sense.
    pub retry_after: Option<Duration>,
}

/// Trailers of an error, for clients that do not decode its details.
const REASON: &str = "runlog-reason";
const FIELD: &str = "runlog-field";

/// Trailer by which gRPC libraries delay their own retries, milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Characters of a field that are percent-encoded in a trailer; all that is not ASCII is as well.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

impl Refusal<'_> {
    /// The gRPC status: `ErrorInfo` with the reason, `BadRequest` with the field, `RetryInfo` if a retry may succeed, and the same
    /// three as trailers. Every error of this server is made here.
    #[must_use]
    pub fn into_status(self) -> Status {
        let trailers = self.trailers();
        let mut details = ErrorDetails::with_error_info(self.reason, DOMAIN, self.metadata);
        if let Some(field) = self.field {
            details.add_bad_request_violation(field, self.message.as_str());
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details_and_metadata(self.code, self.message, details, trailers)
    }

    fn trailers(&self) -> MetadataMap {
        let field = self.field.map(|field| utf8_percent_encode(field, ENCODED).to_string());
        let delay = match (self.retry_after, self.code) {
            (Some(delay), _) => Some(delay.as_millis().to_string()),
            // A request that is too large, or a full disk: policies would retry the code for nothing.
            (None, tonic::Code::ResourceExhausted) => Some("-1".to_owned()),
            (None, _) => None,
        };
        let mut trailers = MetadataMap::new();
        for (name, value) in [(REASON, Some(self.reason)), (FIELD, field.as_deref()), (PUSHBACK, delay.as_deref())] {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                trailers.insert(name, value);
            }
        }
        trailers
    }
}

/// gRPC status of an error of the domain.
#[must_use]
pub fn from_error(error: &Error) -> Status {
    from_error_at(error, None)
}

/// As [`from_error`], for a stream that broke off. `resume_cursor` is the cursor to continue from.
#[must_use]
pub fn from_error_at(error: &Error, resume_cursor: Option<String>) -> Status {
    let mut metadata = metadata(error);
    if let Some(cursor) = resume_cursor {
        metadata.insert("resume_cursor".to_owned(), cursor);
    }
    let field = error.field();
    let refusal = Refusal {
        code: code(error),
        reason: error.reason(),
        message: error.to_string(),
        field: field.as_deref(),
        metadata,
        retry_after: error.retry_after(),
    };
    refusal.into_status()
}

/// Facts of the error by name, for the metadata of `ErrorInfo`.
#[must_use]
pub fn metadata(error: &Error) -> HashMap<String, String> {
    error.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// gRPC code for the domain code of an error.
#[must_use]
pub fn code(error: &Error) -> tonic::Code {
    match error.code() {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::Internal => tonic::Code::Internal,
        Code::DataLoss => tonic::Code::DataLoss,
    }
}

/// HTTP status of an error, the same in all REST APIs.
#[must_use]
pub fn http(error: &Error) -> StatusCode {
    match error.code() {
        Code::InvalidArgument => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::OutOfRange if matches!(error, Error::CursorExpired { .. }) => StatusCode::GONE,
        Code::OutOfRange | Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        // A full queue: the caller should slow down. A full disk: a fault of the server.
        Code::ResourceExhausted if matches!(error, Error::StoreFull) => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Adds a reason to a refusal by tonic: a request that is too large, no protobuf of this message, or for an unknown method.
///
/// Statuses of this server carry details, statuses of tonic carry none. tonic answers OUT_OF_RANGE to a message over the size
/// limit and INTERNAL to a message that does not decode; both are faults of the caller.
#[must_use]
pub fn from_wire(status: Status) -> Status {
    if !status.details().is_empty() {
        return status;
    }
    let (code, reason, advice) = match status.code() {
        tonic::Code::OutOfRange => {
            let advice = "the request is larger than --max-request-bytes; send fewer events in one request";
            (tonic::Code::ResourceExhausted, "REQUEST_TOO_LARGE", advice)
        }
        tonic::Code::Internal => {
            (tonic::Code::InvalidArgument, "MALFORMED_REQUEST", "the request is no protobuf of this method's message")
        }
        tonic::Code::Unimplemented => {
            (tonic::Code::Unimplemented, "UNIMPLEMENTED", "the server has no such method, or cannot read this encoding")
        }
        _ => return status,
    };
    let message = match status.message() {
        "" => advice.to_owned(),
        cause => format!("{advice} ({cause})"),
    };
    Refusal { code, reason, message, field: None, metadata: HashMap::new(), retry_after: None }.into_status()
}

/// Reason for a call that timed out and cannot have stored an event.
pub const REQUEST_TIMEOUT: &str = "REQUEST_TIMEOUT";

/// Option with the server's deadline for a call. A shorter deadline of the caller takes precedence.
const OUR_DEADLINE: &str = "--request-timeout-ms";

/// Reason and text for a call that timed out: the store does not answer, or the request arrives too slowly. The outcome of a
/// call that stores events is unknown.
#[must_use]
pub fn timeout(may_store: bool) -> (&'static str, String) {
    let given_up = format!("not answered within {OUR_DEADLINE}");
    match (may_store, Error::OutcomeUnknown) {
        (true, unknown) => (unknown.reason(), format!("{given_up}; {unknown}")),
        (false, _) => (REQUEST_TIMEOUT, given_up),
    }
}

/// Delay before the retry of a call that timed out.
#[must_use]
pub fn retry_after_timeout() -> Option<Duration> {
    Error::OutcomeUnknown.retry_after()
}

/// gRPC methods that may have stored something at their deadline.
const MAY_STORE: [&str; 8] =
    ["/Publish", "/CreateRun", "/CancelRun", "/SignalRun", "/ResumeRun", "/CreateKey", "/RevokeKey", "/RotateKey"];

/// gRPC status of a call that timed out, at the deadline of the caller or of the server. `path` is `/package.Service/Method`.
/// For a stream the deadline covers only the start, before any event is stored.
#[must_use]
pub fn timed_out(path: &str, is_callers_deadline: bool) -> Status {
    let (reason, message) = timeout(MAY_STORE.iter().any(|method| path.ends_with(method)));
    let (field, metadata) = (None, HashMap::new());
    let refusal = if is_callers_deadline {
        let message = message.replace(OUR_DEADLINE, "grpc-timeout");
        Refusal { code: tonic::Code::DeadlineExceeded, reason, message, field, metadata, retry_after: None }
    } else {
        let retry_after = retry_after_timeout();
        Refusal { code: tonic::Code::Unavailable, reason, message, field, metadata, retry_after }
    };
    refusal.into_status()
}

/// gRPC status of a request without progress for `--stall-timeout-ms`.
#[must_use]
pub fn stalled() -> Status {
    const MESSAGE: &str = "nothing of the request came for --stall-timeout-ms; nothing of it was stored; send it again";
    let refusal = Refusal {
        code: tonic::Code::Unavailable,
        reason: REQUEST_TIMEOUT,
        message: MESSAGE.to_owned(),
        field: None,
        metadata: HashMap::new(),
        retry_after: retry_after_timeout(),
    };
    refusal.into_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_carries_reason_field_and_retry() {
        let status = from_error(&Error::invalid("events[0].type", "must not be empty"));
        let details = status.get_error_details();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
        assert_eq!(details.error_info().unwrap().domain, "runlog");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "events[0].type");
        assert!(details.retry_info().is_none());
        let status = from_error_at(&Error::ShuttingDown, Some("7".to_owned()));
        let details = status.get_error_details();
        assert!(details.retry_info().unwrap().retry_delay.is_some());
        assert_eq!(details.error_info().unwrap().metadata["resume_cursor"], "7");
    }

    #[test]
    fn reason_field_and_delay_are_trailers_of_plain_ascii_too() {
        let of = |error: &Error| {
            let status = from_error(error);
            let trailer = |name| status.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
            [REASON, FIELD, PUSHBACK].map(trailer)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of(&Error::invalid("events[0].payload.größe 5%", "is wrong")),
            [some("INVALID_FIELD"), some("events[0].payload.gr%C3%B6%C3%9Fe 5%25"), None]
        );
        assert_eq!(of(&Error::ShuttingDown), [some("SHUTTING_DOWN"), None, some("1000")]);
        let unanswered = timed_out("/runlog.v1.EventService/Publish", false);
        assert_eq!(unanswered.metadata().get(REASON).unwrap(), "OUTCOME_UNKNOWN");
        assert_eq!(from_wire(Status::internal("bad")).metadata().get(REASON).unwrap(), "MALFORMED_REQUEST");
    }

    #[test]
    fn what_the_wire_layer_refuses_gets_a_reason_too() {
        let status = from_wire(Status::out_of_range("too large"));
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "REQUEST_TOO_LARGE");
        assert_eq!(from_wire(Status::internal("bad")).code(), tonic::Code::InvalidArgument);
        let ours = from_error(&Error::internal("a test"));
        assert_eq!(from_wire(ours).code(), tonic::Code::Internal);
    }
}
