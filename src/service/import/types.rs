//! Events to import, and the results and errors of an import.

use crate::domain::{AgentName, Error, Event, RunId, StructureId};

/// An event with the facts of another store.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Line of the event in the source, from 1, for error messages.
    pub line: u64,
    /// The event, with the seq and times of the other store.
    pub event: Event,
    /// Set for the first event of a run in the source, if that has lost the events before: the seq of the event.
    pub run_first_seq: Option<u64>,
    /// The agent of the run, if any; used with the first event of a run.
    pub run_agent_name: Option<AgentName>,
    /// The structure of the run, if any; used with the first event of a run.
    pub structure_id: Option<StructureId>,
}

impl Imported {
    /// Whether the run begins with this event.
    #[must_use]
    pub fn is_first_of_run(&self) -> bool {
        self.event.seq == 1 || self.run_first_seq.is_some()
    }
}

/// Failure of an import. Events before this event are stored; the event and later events are not, except that after
/// `OutcomeUnknown` some may be.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: run {run_id:?}, seq {seq}: {cause}")]
pub struct ImportError {
    /// Line of the event in the source; of the first event, if the store refused an append of several.
    pub line: u64,
    /// The run of the event.
    pub run_id: RunId,
    /// The seq of the event.
    pub seq: u64,
    /// Reason of the refusal.
    pub cause: Refusal,
}

/// Reason why an event is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Events between the run's last seq and the event are missing.
    #[error("does not follow: the run ends at seq {last_seq}; import what lies between first")]
    Gap {
        /// The last seq of the run, including events that are not durable yet.
        last_seq: u64,
    },
    /// A different event is stored at the seq.
    #[error("another event is stored there: {} differs", .fields.join(", "))]
    Differs {
        /// Names of the fields that differ, as in the protocol.
        fields: Vec<&'static str>,
    },
    /// The store refused the event.
    #[error("{0}")]
    Store(Error),
}

/// Result of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imports {
    /// Events stored by this import; all are durable.
    pub stored: u64,
    /// Events that were stored before.
    pub present: u64,
    /// Runs with a first event in the source.
    pub runs: u64,
}
