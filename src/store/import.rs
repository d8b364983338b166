//! Imports: appends of events that another store recorded.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::domain::Error;

use super::Append;

/// Recording times of imported events, and the import that the append belongs to.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Recording time of each event of the append, in the same order.
    pub at: Vec<Timestamp>,
    /// The import that the append belongs to.
    pub import: Import,
    /// Seq with which the run begins if it does not exist yet: the run has lost its events before. `None`: 1.
    pub first_seq: Option<u64>,
}

impl Recorded {
    /// Seq of the first event of the append, in a run with this last seq.
    pub(super) fn seq_after(&self, last_seq: u64) -> u64 {
        if last_seq == 0 { self.first_seq.unwrap_or(1) } else { last_seq + 1 }
    }
}

/// A sequence of appends that are stored up to the first failure: the stored events are a prefix of the sequence, in
/// the feed order of the source. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Import(Arc<OnceLock<Error>>);

impl Import {
    /// The error that ended the import; `None` while the import may continue.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.0.get().cloned()
    }

    /// Ends the import with the error of a failed append.
    pub(super) fn fail(&self, error: &Error) {
        // Only the first error is kept: later errors are consequences.
        let _ = self.0.set(error.clone());
    }
}

impl Append {
    /// The import that the append belongs to, if any.
    pub(super) fn import(&self) -> Option<&Import> {
        self.recorded.as_ref().map(|recorded| &recorded.import)
    }
}
