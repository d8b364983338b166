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
