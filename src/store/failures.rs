//! Metric of store errors, counted at the conversion of driver errors into [`Error`].

use crate::domain::Error;
use crate::telemetry;

/// Counts the error by reason and returns the error unchanged.
pub fn counted(error: Error) -> Error {
    telemetry::STORE_ERRORS.add_one(&[("reason", error.reason())]);
    error
}
