//! Appends of events that another store recorded.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use crate::domain::Error;

use super::Append;

/// What another store knew of the events of an append.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// When each event was recorded; as many as there are events, in their order.
    pub at: Vec<Timestamp>,
    /// What the append is a part of.
    pub import: Import,
}

/// A sequence of appends of which none is stored when one before it was not: what is stored is a beginning of the
/// sequence, and the order of the feed is that of the source. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Import(Arc<OnceLock<Error>>);

impl Import {
    /// Why nothing more is stored of it, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.0.get().cloned()
    }

    /// An append of it is not stored.
    pub(super) fn fail(&self, error: &Error) {
        // The first one is what the caller has to hear of.
        let _ = self.0.set(error.clone());
    }
}

impl Append {
    /// The import that it is a part of.
    pub(super) fn import(&self) -> Option<&Import> {
        self.recorded.as_ref().map(|recorded| &recorded.import)
    }
}
