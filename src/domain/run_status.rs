//! The status of a run.

use std::fmt;

/// Status of a run. The numbers are those of the wire and of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RunStatus {
    /// No event has set a status yet.
    Unspecified = 0,
    /// Accepted, waiting for a worker.
    Queued = 1,
    /// The worker loads the code.
    Starting = 2,
    /// The code is executing.
    Running = 3,
    /// Waiting for an answer to a question.
    AwaitingInput = 4,
    /// The worker stopped reporting.
    Stalled = 5,
    /// Ended with success. Final.
    Succeeded = 6,
    /// Ended with an error or at a limit. Final.
    Failed = 7,
    /// Stopped on request. Final.
    Cancelled = 8,
}

impl RunStatus {
    /// All statuses, ascending by number.
    pub const ALL: [Self; 9] = [
        Self::Unspecified,
        Self::Queued,
        Self::Starting,
        Self::Running,
        Self::AwaitingInput,
        Self::Stalled,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Whether the run has ended: later events do not change a final status.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The status with this number; `None` for an unknown number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i64 == number)
    }
}

/// The name on the wire without the prefix `RUN_STATUS_`: `AWAITING_INPUT`.
impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::Queued => "QUEUED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::AwaitingInput => "AWAITING_INPUT",
            Self::Stalled => "STALLED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        })
    }
}
