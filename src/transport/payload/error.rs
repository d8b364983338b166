//! Errors of payloads.

/// Reason why a payload cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PayloadError {
    /// Path of the field from the payload: `extra_json`, `run_end.output_json`.
    pub field: String,
    /// Description of the problem, for people.
    pub problem: String,
}

impl PayloadError {
    pub(super) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}
