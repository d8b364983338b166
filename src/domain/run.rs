//! Runs: what the events of one run add up to.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{AgentName, EventType, RunId, StructureId};

/// Where a run stands. The numbers are those of the wire and of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RunStatus {
    /// Known, but nothing said yet that would tell a status.
    Unspecified = 0,
    /// Accepted, waits for a worker.
    Queued = 1,
    /// Its code is being loaded.
    Starting = 2,
    /// Its code runs.
    Running = 3,
    /// A human has to answer.
    AwaitingInput = 4,
    /// Its worker fell silent.
    Stalled = 5,
    /// Ended well. Final.
    Succeeded = 6,
    /// Ended badly. Final.
    Failed = 7,
    /// Stopped on request. Final.
    Cancelled = 8,
}

impl RunStatus {
    /// Every status, in the order of their numbers.
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

    /// Whether no event changes it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The status with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as i64 == number)
    }
}

/// The names of the wire without their prefix: `AWAITING_INPUT`.
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

/// What a run used, as its `run_end` reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// All tokens as reported.
    pub total_tokens: u64,
    /// Cost in US dollars.
    pub cost_usd: f64,
    /// The model named last; empty when none was.
    pub model: String,
}

/// A question that a run waits on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingInput {
    /// The id by which an answer names it, at most 200 characters without control characters; empty when it has none, `None`
    /// when that is not known: version 0.1.0 kept no ids.
    #[serde(default)]
    pub question_id: Option<String>,
    /// The question in words, or as its JSON text where it is no string; empty when none was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub question: String,
    /// What the question is about, as JSON text; empty when none was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context_json: String,
    /// Where the question was put; empty when not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// Why input is needed; empty when not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason_code: String,
    /// What kind of input is needed; empty when not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input_kind: String,
    /// The seq of the event that asked.
    pub requested_seq: u64,
}

impl PendingInput {
    /// What an answer is matched by, without the texts, which may be large.
    #[must_use]
    pub fn reference(&self) -> Self {
        let Self { question_id, requested_seq, .. } = self;
        Self { question_id: question_id.clone(), requested_seq: *requested_seq, ..Self::default() }
    }
}

/// What the events of a run add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The run.
    pub run_id: RunId,
    /// Where it stands.
    pub status: RunStatus,
    /// The agent: as created with, else the first one an event named.
    pub agent_name: Option<AgentName>,
    /// The structure that it was created for.
    pub structure_id: Option<StructureId>,
    /// When its first event was recorded.
    pub created_at: Timestamp,
    /// When its last event was recorded.
    pub updated_at: Timestamp,
    /// When it first became STARTING or RUNNING, by the producer's clock.
    pub started_at: Option<Timestamp>,
    /// When it reached its final status, by the producer's clock.
    pub completed_at: Option<Timestamp>,
    /// Its last seq.
    pub last_seq: u64,
    /// The type of the event that gave it its final status.
    pub ended_by: Option<EventType>,
    /// When its output was recorded.
    pub output_at: Option<Timestamp>,
    /// What the platform says about how it ended, JSON text.
    pub status_detail_json: Option<String>,
    /// What it produced, JSON text.
    pub output_json: Option<String>,
    /// What went wrong, JSON text.
    pub error_json: Option<String>,
    /// What it used; `None` until something was reported.
    pub usage: Option<Usage>,
    /// The questions that it waits on, oldest first. Of a run in the writer's memory without their texts: see
    /// [`PendingInput::reference`].
    pub pending_inputs: Vec<PendingInput>,
}

impl Run {
    /// A run before its first event.
    #[must_use]
    pub fn new(run_id: RunId, created_at: Timestamp) -> Self {
        Self {
            run_id,
            status: RunStatus::Unspecified,
            agent_name: None,
            structure_id: None,
            created_at,
            updated_at: created_at,
            started_at: None,
            completed_at: None,
            last_seq: 0,
            ended_by: None,
            output_at: None,
            status_detail_json: None,
            output_json: None,
            error_json: None,
            usage: None,
            pending_inputs: Vec::new(),
        }
    }
}
