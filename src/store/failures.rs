//! What went wrong in a store, counted where its own errors become ours.

use crate::domain::Error;

/// Counts it, and gives it back.
pub fn counted(error: Error) -> Error {
    metrics::counter!("runlog_store_errors_total", "reason" => error.reason()).increment(1);
    error
}
