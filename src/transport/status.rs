//! The one map from the one error to gRPC and to HTTP.

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::{Code, Error};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "runlog";

/// The gRPC status: `ErrorInfo` with the reason, `BadRequest` with the field, `RetryInfo` where waiting helps.
#[must_use]
pub fn from_error(error: &Error) -> Status {
    from_error_at(error, None)
}

/// As [`from_error`], for a stream that broke off: `resume_cursor` tells where to go on.
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

/// The facts of the error by name.
#[must_use]
pub fn metadata(error: &Error) -> HashMap<String, String> {
    error.metadata().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The gRPC code.
#[must_use]
pub fn code(error: &Error) -> tonic::Code {
    match error.code() {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
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

/// The HTTP status, the same at every door.
#[must_use]
pub fn http(error: &Error) -> StatusCode {
    match error.code() {
        Code::InvalidArgument => StatusCode::UNPROCESSABLE_ENTITY,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::OutOfRange | Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => StatusCode::CONFLICT,
        // A full queue is the caller's pace, a full disk is not.
        Code::ResourceExhausted if matches!(error, Error::StoreFull) => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A request that the wire layer itself refused, with a reason of ours: too large, no protobuf of this message, or for
/// a method that is not there.
///
/// Our own statuses carry details, tonic's carry none. tonic says OUT_OF_RANGE to a message over the size limit and
/// INTERNAL to one that does not decode; both are the caller's to mend.
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

/// The reason of a call that was given up and cannot have stored anything.
pub const REQUEST_TIMEOUT: &str = "REQUEST_TIMEOUT";

/// The option that bounds a call which brings no deadline of its own.
const OUR_DEADLINE: &str = "--request-timeout-ms";

/// Reason and text of a call that was given up: the store does not answer, or the request itself came too slowly. Of a call
/// that stores something nobody knows how far it came.
#[must_use]
pub fn timeout(may_store: bool) -> (&'static str, String) {
    let given_up = format!("not answered within {OUR_DEADLINE}");
    match (may_store, Error::OutcomeUnknown) {
        (true, unknown) => (unknown.reason(), format!("{given_up}; {unknown}")),
        (false, _) => (REQUEST_TIMEOUT, given_up),
    }
}

/// When it makes sense to repeat such a call.
#[must_use]
pub fn retry_after_timeout() -> Option<Duration> {
    Error::OutcomeUnknown.retry_after()
}

/// A gRPC call that was given up, at the caller's deadline or at ours. `path` is `/package.Service/Method`; a stream has stored
/// nothing before it begins.
#[must_use]
pub fn timed_out(path: &str, is_callers_deadline: bool) -> Status {
    let (reason, message) = timeout(path.ends_with("/Publish") || path.ends_with("/CreateRun"));
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    if is_callers_deadline {
        let message = message.replace(OUR_DEADLINE, "grpc-timeout");
        return Status::with_error_details(tonic::Code::DeadlineExceeded, message, details);
    }
    details.set_retry_info(retry_after_timeout());
    Status::with_error_details(tonic::Code::Unavailable, message, details)
}

/// A request of which nothing came for too long.
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
        let ours = from_error(&Error::Internal);
        assert_eq!(from_wire(ours).code(), tonic::Code::Internal);
    }
}
