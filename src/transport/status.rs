//! The only map from [`Error`] to gRPC statuses and HTTP statuses.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::{Code, Error};

/// Domain of the `ErrorInfo` in every status.
pub const DOMAIN: &str = "runlog";

/// gRPC status of an error: `ErrorInfo` with the reason, `BadRequest` with the field, `RetryInfo` if a retry may succeed.
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
    let mut details = ErrorDetails::with_error_info(error.reason(), DOMAIN, metadata);
    if let Some(field) = error.field() {
        details.add_bad_request_violation(field, error.to_string());
    }
    if let Some(delay) = error.retry_after() {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code(error), error.to_string(), details)
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
    let details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    let message = match status.message() {
        "" => advice.to_owned(),
        cause => format!("{advice} ({cause})"),
    };
    Status::with_error_details(code, message, details)
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
const MAY_STORE: [&str; 5] = ["/Publish", "/CreateRun", "/CreateKey", "/RevokeKey", "/RotateKey"];

/// gRPC status of a call that timed out, at the deadline of the caller or of the server. `path` is `/package.Service/Method`.
/// For a stream the deadline covers only the start, before any event is stored.
#[must_use]
pub fn timed_out(path: &str, is_callers_deadline: bool) -> Status {
    let (reason, message) = timeout(MAY_STORE.iter().any(|method| path.ends_with(method)));
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    if is_callers_deadline {
        let message = message.replace(OUR_DEADLINE, "grpc-timeout");
        return Status::with_error_details(tonic::Code::DeadlineExceeded, message, details);
    }
    details.set_retry_info(retry_after_timeout());
    Status::with_error_details(tonic::Code::Unavailable, message, details)
}

/// gRPC status of a request without progress for `--stall-timeout-ms`.
#[must_use]
pub fn stalled() -> Status {
    const MESSAGE: &str = "nothing of the request came for --stall-timeout-ms; nothing of it was stored; send it again";
    let mut details = ErrorDetails::with_error_info(REQUEST_TIMEOUT, DOMAIN, HashMap::new());
    details.set_retry_info(retry_after_timeout());
    Status::with_error_details(tonic::Code::Unavailable, MESSAGE, details)
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
    fn what_the_wire_layer_refuses_gets_a_reason_too() {
        let status = from_wire(Status::out_of_range("too large"));
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.get_error_details().error_info().unwrap().reason, "REQUEST_TOO_LARGE");
        assert_eq!(from_wire(Status::internal("bad")).code(), tonic::Code::InvalidArgument);
        let ours = from_error(&Error::internal("a test"));
        assert_eq!(from_wire(ours).code(), tonic::Code::Internal);
    }
}
