//! Runs: the state that results from the events of one run.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event_types::EventType;
use super::ids::{AgentName, RunId, StructureId};
use super::run_status::RunStatus;

/// Token usage and cost of a run, as reported by its `run_end` event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens sent to models.
    pub prompt_tokens: u64,
    /// Tokens returned by models.
    pub completion_tokens: u64,
    /// Total as reported, not computed.
    pub total_tokens: u64,
    /// Cost in US dollars.
    pub cost_usd: f64,
    /// Name of the model, at most 200 characters; empty: not reported.
    pub model: String,
}

/// An open question of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingInput {
    /// Id by which an answer names the question, at most 200 characters without control characters. Empty: the question has
    /// no id. `None`: not known, since version 0.1.0 stored no ids.
    #[serde(default)]
    pub question_id: Option<String>,
    /// Text of the question, or its JSON text if the member is not a string; empty: none was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub question: String,
    /// Context of the question as JSON text; empty: none was given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context_json: String,
    /// Channel of the question, for instance `slack`; empty: not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// Reason of the question for programs, for instance `AWAITING_APPROVAL`; empty: not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason_code: String,
    /// Kind of the expected input, for instance `approval`; empty: not given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub input_kind: String,
    /// Seq of the event that opened the question.
    pub requested_seq: u64,
}

impl PendingInput {
    /// The id and seq alone, by which answers are matched; the texts may be large.
    #[must_use]
    pub fn reference(&self) -> Self {
        let Self { question_id, requested_seq, .. } = self;
        Self { question_id: question_id.clone(), requested_seq: *requested_seq, ..Self::default() }
    }
}

/// State of a run: the result of applying its events in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Id of the run.
    pub run_id: RunId,
    /// Current status.
    pub status: RunStatus,
    /// Name of the agent: from the creation of the run, else from the first event with a name.
    pub agent_name: Option<AgentName>,
    /// Structure of the run; `None`: the run was created without one.
    pub structure_id: Option<StructureId>,
    /// Commit time of the first event.
    pub created_at: Timestamp,
    /// Commit time of the last event.
    pub updated_at: Timestamp,
    /// Time of the first STARTING or RUNNING, by the producer's clock.
    pub started_at: Option<Timestamp>,
    /// Time of the final status, by the producer's clock.
    pub completed_at: Option<Timestamp>,
    /// Seq of the first event that is kept: 1, or more after retention has removed the events before. One more than `last_seq` if
    /// no event is kept.
    pub first_seq: u64,
    /// Seq of the last event; 0 before the first one.
    pub last_seq: u64,
    /// Whether retention passes the run over.
    pub is_held: bool,
    /// Type of the event that set the final status.
    pub ended_by: Option<EventType>,
    /// Commit time of the output.
    pub output_at: Option<Timestamp>,
    /// `status_detail` of the structure run's last event with one, as JSON text.
    pub status_detail_json: Option<String>,
    /// Output, as JSON text.
    pub output_json: Option<String>,
    /// Error, as JSON text.
    pub error_json: Option<String>,
    /// Usage; `None`: not reported yet.
    pub usage: Option<Usage>,
    /// Open questions, oldest first. In the writer's run state cache without their texts: see
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
            first_seq: 1,
            last_seq: 0,
            is_held: false,
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
