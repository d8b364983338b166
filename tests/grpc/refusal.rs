//! The parts of an error that clients react to.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The parts of a failed call's status.
#[derive(Debug)]
pub struct Refusal {
    pub code: Code,
    pub reason: String,
    pub field: Option<String>,
    pub metadata: HashMap<String, String>,
    pub retry: Option<Duration>,
    pub message: String,
}

impl Refusal {
    /// Promise 8: every error has one ErrorInfo of the domain `runlog`, and its facts as plain trailers too.
    pub fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("an error without ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "runlog", "{status:?}");
        assert!(!info.reason.is_empty() && info.reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        assert!(!status.message().is_empty(), "{status:?}");
        let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
        let field = violation.map(|violation| violation.field.clone());
        let retry = details.retry_info().and_then(|info| info.retry_delay);
        let trailer = |name| status.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(trailer("runlog-reason").as_deref(), Some(info.reason.as_str()), "{status:?}");
        let is_plain = field.as_ref().is_none_or(|field| field.is_ascii() && !field.contains('%'));
        assert!(!is_plain || trailer("runlog-field") == field, "{status:?}");
        assert_eq!(trailer("grpc-retry-pushback-ms"), retry.map(|delay| delay.as_millis().to_string()), "{status:?}");
        Self {
            code: status.code(),
            reason: info.reason.clone(),
            field,
            metadata: info.metadata.clone(),
            retry,
            message: status.message().to_owned(),
        }
    }

    /// Asserts the code and the reason.
    #[track_caller]
    pub fn is(self, code: Code, reason: &str) -> Self {
        assert_eq!((self.code, self.reason.as_str()), (code, reason), "{self:?}");
        self
    }

    /// Asserts the field at fault, named in all three places.
    #[track_caller]
    pub fn names(self, field: &str) -> Self {
        assert_eq!(self.field.as_deref(), Some(field), "{self:?}");
        self
    }
}

/// The error of a call that must fail.
#[track_caller]
pub fn refused<T: Debug>(outcome: Result<T, Status>) -> Refusal {
    match outcome {
        Ok(answer) => panic!("was not refused: {answer:?}"),
        Err(status) => Refusal::of(&status),
    }
}

/// Asserts an `INVALID_FIELD` error for the field.
#[track_caller]
pub fn refused_field<T: Debug>(outcome: Result<T, Status>, field: &str) -> Refusal {
    let refusal = refused(outcome).is(Code::InvalidArgument, "INVALID_FIELD").names(field);
    assert_eq!(refusal.metadata["field"], field);
    assert!(refusal.message.starts_with(&format!("{field}: ")), "{}", refusal.message);
    refusal
}
