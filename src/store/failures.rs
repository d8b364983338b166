//! Metric of store errors, counted at the conversion of driver errors into [`Error`].

use crate::domain::Error;

/// Counts the error by reason and returns the error unchanged.
pub fn counted(error: Error) -> Error {
    metrics::counter!("runlog_store_errors_total", "reason" => error.reason()).increment(1);
    error
}
