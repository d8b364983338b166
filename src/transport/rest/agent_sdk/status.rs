//! Where a run stands, in the words of the reference page where it has one.

use serde::de::IntoDeserializer;
use serde::de::value::Error as NotAWord;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::RunStatus;

/// Where a run stands. `running`, `success`, `error` and `waiting_for_input` are the agent SDK's words; the others are
/// states that only runs of other producers reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AgentRunStatus)]
pub enum Status {
    /// Has events, but none that tells a status.
    Pending,
    /// Accepted, waits for a worker.
    Queued,
    /// Its code is being loaded.
    Starting,
    /// Its code runs.
    Running,
    /// A human has to answer.
    WaitingForInput,
    /// Its worker fell silent.
    Stalled,
    /// Ended well. Final.
    Success,
    /// Ended badly. Final.
    Error,
    /// Stopped on request. Final.
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

/// The status of a word of this door; no other spelling is taken.
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
