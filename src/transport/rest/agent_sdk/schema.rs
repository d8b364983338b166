//! Schemas of responses of the agent SDK API for `/openapi.json`. The responses are serialized from these types.

use crate::transport::rest::removal::EventRemoval;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Response: an object for one event, an array in the same order for an array.
#[derive(Serialize)]
#[serde(untagged)]
pub enum IngestAnswer {
    /// Response to one event.
    One(Ingested),
    /// Response to an array, in the same order.
    Many(Vec<Ingested>),
}

/// A stored event.
#[derive(Serialize, ToSchema)]
pub struct Ingested {
    /// `ok`: the event is stored.
    pub(super) status: &'static str,
    pub(super) event_id: String,
    pub(super) sdk_run_id: String,
    /// Seq in the run: 1, 2, 3 … without a gap. Also the cursor of the following events.
    #[schema(minimum = 1)]
    pub(super) seq: u64,
    /// Status of the run after the request.
    pub(super) run_status: Status,
    /// True if an earlier request had stored the event; otherwise absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) duplicate: bool,
}

/// An event as sent, with the members that the server adds.
#[derive(ToSchema)]
#[schema(as = AgentEvent)]
pub struct EventView<'a> {
    /// All members except the payload.
    #[serde(flatten)]
    pub envelope: Envelope<'a>,
    /// The JSON text as sent, or the public view of the payload. An object if published through this API; the other
    /// APIs accept any JSON.
    pub payload: Value,
    /// Why the payload is gone; absent if it is there.
    #[schema(nullable = false)]
    pub removal: Option<EventRemoval>,
    /// Seq of the first event whose text the payload holds, too, after a compaction of deltas; absent: no other text.
    #[schema(nullable = false, minimum = 1)]
    pub joined_from: Option<u64>,
}

/// All members of an event except payload, removal and joined_from.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentEventEnvelope)]
pub struct Envelope<'a> {
    pub(super) event_type: &'a str,
    pub(super) sdk_run_id: &'a str,
    /// Seq in the run: 1, 2, 3 … without a gap. Also the cursor of the following events.
    #[schema(minimum = 1)]
    pub(super) seq: u64,
    pub(super) event_id: &'a str,
    /// Time by the producer's clock; the same as `recorded_at` if the producer gave none.
    #[schema(value_type = String, format = DateTime)]
    pub(super) occurred_at: Timestamp,
    /// Time of storage by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub(super) recorded_at: Timestamp,
    /// Name of the agent; absent if the event has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    pub(super) agent_name: Option<&'a str>,
    pub(super) origin: EventOrigin,
    /// True if the payload differs from the sent one: members left out, tool input and output shortened, secrets
    /// masked; otherwise absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) redacted: bool,
}

/// Source of an event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AgentEventOrigin)]
pub enum EventOrigin {
    /// The platform that runs the agent.
    System,
    /// The agent's own code.
    User,
}

/// A page of events.
#[derive(ToSchema)]
#[schema(as = AgentEventsPage)]
pub struct EventsReply<'a> {
    /// Events in the requested order.
    pub events: Vec<EventView<'a>>,
    /// End of the page.
    #[serde(flatten)]
    pub end: PageEnd,
}

/// End of a page of events.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentEventsPageEnd)]
pub struct PageEnd {
    /// Value of `cursor` for the next page; also set at the end of the run, so that a client can poll.
    pub(super) next_cursor: String,
    /// Whether more events followed the page at the time of the read.
    pub(super) has_more: bool,
    /// Seq of the last event of the run.
    pub(super) last_seq: u64,
}

/// State of a run, computed from the events of the run.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRun)]
pub struct RunView {
    pub(super) sdk_run_id: String,
    pub(super) status: Status,
    /// Name of the agent, from the first event with a name.
    #[schema(required)]
    pub(super) agent_name: Option<String>,
    /// The `output` of the `run_end`, any JSON as sent.
    #[schema(value_type = Value, required)]
    pub(super) output: Option<Box<RawValue>>,
    /// Payload of the `error` that ended the run, in the public view.
    #[schema(value_type = Value, required)]
    pub(super) error: Option<Box<RawValue>>,
    /// Token counts of the `run_end`; null if not reported.
    #[schema(required)]
    pub(super) tokens: Option<Tokens>,
    /// Cost in US dollars; null if not reported.
    #[schema(required)]
    pub(super) cost_usd: Option<f64>,
    /// Name of the model; null if not reported.
    #[schema(required)]
    pub(super) model: Option<String>,
    /// The oldest open question; null without open questions.
    #[schema(required)]
    pub(super) pending_input: Option<PendingInputView>,
    /// All open questions, oldest first.
    pub(super) pending_inputs: Vec<PendingInputView>,
    /// Number of open questions.
    pub(super) pending_input_count: usize,
    /// Time of the first event by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub(super) created_at: Timestamp,
    /// Time of the last event by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub(super) updated_at: Timestamp,
    /// Time of the first start by the producer's clock.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub(super) started_at: Option<Timestamp>,
    /// Time of the end by the producer's clock.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub(super) completed_at: Option<Timestamp>,
    /// Seq of the last event.
    pub(super) last_seq: u64,
}

/// Token counts of a run.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRunTokens)]
pub(super) struct Tokens {
    pub(super) prompt: u64,
    pub(super) completion: u64,
    pub(super) total: u64,
}

/// An open question of a run. Members that the event lacks are null.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRunPendingInput)]
pub(super) struct PendingInputView {
    /// Id by which an answer refers to the question.
    #[schema(required)]
    pub(super) question_id: Option<String>,
    #[schema(required)]
    pub(super) question: Option<String>,
    /// Context of the question, any JSON as sent.
    #[schema(value_type = Value, required)]
    pub(super) context: Option<Box<RawValue>>,
    #[schema(required)]
    pub(super) channel: Option<String>,
    #[schema(required)]
    pub(super) reason_code: Option<String>,
    #[schema(required)]
    pub(super) input_kind: Option<String>,
    /// Seq of the event with the question.
    pub(super) requested_seq: u64,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRunsPage)]
pub struct RunsReply {
    /// Runs of the page, newest first.
    pub(super) runs: Vec<RunView>,
    /// Value of `cursor` for the next page; null at the end. A page may be short before the end.
    #[schema(required)]
    pub(super) next_cursor: Option<String>,
}

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
