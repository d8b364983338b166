//! Errors as the request spells them.

use super::Error;

impl Error {
    /// Puts `prefix.` before the field, for a nested value. A field that begins with `[` is joined without a dot.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        match self {
            Self::InvalidField { field, problem } if field.is_empty() => Self::invalid(prefix, problem),
            Self::InvalidField { field, problem } if field.starts_with('[') => {
                Self::invalid(format!("{prefix}{field}"), problem)
            }
            Self::InvalidField { field, problem } => Self::invalid(format!("{prefix}.{field}"), problem),
            other => other,
        }
    }

    /// Replaces the field by the spelling of the transport, for instance a query parameter or a header.
    #[must_use]
    pub fn with_field(self, field: impl Into<String>) -> Self {
        match self {
            Self::InvalidField { problem, .. } => Self::invalid(field, problem),
            other => other,
        }
    }

    /// For a request that failed after its first commit: errors whose text denies any commit become
    /// [`Error::OutcomeUnknown`].
    #[must_use]
    pub fn after_commit(self) -> Self {
        match self {
            Self::StoreUnavailable
            | Self::StoreLost { .. }
            | Self::StoreReadOnly
            | Self::StoreFull
            | Self::ShuttingDown => Self::OutcomeUnknown,
            other => other,
        }
    }

    /// Sets the index of the event in the request, for errors about one event; `None` if the request has no list of events.
    #[must_use]
    pub fn of_event(mut self, event_index: Option<usize>) -> Self {
        if let Self::FinalStatus { index, .. } | Self::EventIdConflict { index, .. } = &mut self {
            *index = event_index;
        }
        self
    }
}
