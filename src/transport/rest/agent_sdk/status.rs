//! Run statuses of the agent SDK API: the names of agent-os ingest, and names for statuses that agent-os ingest lacks.

use serde::de::IntoDeserializer;
use serde::de::value::Error as NotAWord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::RunStatus;

/// Status of a run. `running`, `success`, `error` and `waiting_for_input` are the statuses of agent-os ingest; the
/// others occur only in runs that other APIs write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AgentRunStatus)]
pub enum Status {
    /// No event has set a status yet.
    Pending,
    /// Accepted; waits for a worker.
    Queued,
    /// The run's code is being loaded.
    Starting,
    /// The run's code is running.
    Running,
    /// A question to a human is open.
    WaitingForInput,
    /// The worker stopped reporting.
    Stalled,
    /// The run has succeeded; final.
    Success,
    /// The run has failed; final.
    Error,
    /// The run was cancelled; final.
    Cancelled,
}

impl From<RunStatus> for Status {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Unspecified => Self::Pending,
            RunStatus::Queued => Self::Queued,
            RunStatus::Starting => Self::Starting,
            RunStatus::Running => Self::Running,
            RunStatus::AwaitingInput => Self::WaitingForInput,
            RunStatus::Stalled => Self::Stalled,
            RunStatus::Succeeded => Self::Success,
            RunStatus::Failed => Self::Error,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// Status of this name; `None` for any other spelling.
pub fn from_word(word: &str) -> Option<RunStatus> {
    let status = Status::deserialize(IntoDeserializer::<NotAWord>::into_deserializer(word)).ok()?;
    RunStatus::ALL.into_iter().find(|known| Status::from(*known) == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_word_that_reads_back() {
        for status in RunStatus::ALL {
            let word = serde_json::to_value(Status::from(status)).unwrap();
            assert_eq!(from_word(word.as_str().unwrap()), Some(status));
        }
        for other in ["", "RUNNING", "succeeded", "unspecified"] {
            assert_eq!(from_word(other), None);
        }
    }
}
