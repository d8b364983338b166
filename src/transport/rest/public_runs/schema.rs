//! Schemas of responses of the public runs API for `/openapi.json`. The responses are serialized from these types.

use crate::transport::rest::removal::EventRemoval;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// State of a run, computed from the events of the run.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicRun {
    /// Id of the run.
    pub id: String,
    /// Status of the run.
    #[schema(value_type = PublicRunStatus)]
    pub status: String,
    /// Time of the first event by the server's clock.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Time of the last event by the server's clock.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Time of the first start; null before.
    #[schema(format = DateTime, required = true)]
    pub started_at: Option<String>,
    /// Time of the end; null before.
    #[schema(format = DateTime, required = true)]
    pub completed_at: Option<String>,
    /// Seq of the last event.
    pub last_seq: u64,
    /// Result of the run; null until reported.
    #[schema(value_type = Value, required = true)]
    pub output: Option<Box<RawValue>>,
    /// Error of the run, without the members that clients supplied; null without an error.
    #[schema(value_type = Value, required = true)]
    pub error: Option<Box<RawValue>>,
    /// Name of the agent; absent if no event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent_name: Option<String>,
    /// Id of the structure; absent if the run is of no structure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub structure_id: Option<String>,
    /// Reported tokens and cost; absent if not reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub usage: Option<PublicUsage>,
    /// The oldest open question; absent without open questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pending_input: Option<PublicPendingInput>,
    /// All open questions, oldest first; absent without open questions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub pending_inputs: Vec<PublicPendingInput>,
    /// Number of open questions; absent without open questions.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub pending_input_count: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Status of a run. The last three are final.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PublicRunStatus {
    Queued,
    Starting,
    Running,
    AwaitingInput,
    Stalled,
    Succeeded,
    Failed,
    Cancelled,
}

/// Reported tokens and cost of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicUsage {
    /// Number of input tokens.
    pub prompt_tokens: u64,
    /// Number of output tokens.
    pub completion_tokens: u64,
    /// Number of all tokens, as reported.
    pub total_tokens: u64,
    /// Cost in US dollars.
    pub cost_usd: f64,
    /// Name of the last reported model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub model: Option<String>,
}

/// An open question of a run. Members that the event lacks are absent.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPendingInput {
    /// Seq of the event with the question.
    pub requested_seq: u64,
    /// Id by which an answer refers to the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub question_id: Option<String>,
    /// Text of the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub question: Option<String>,
    /// Context of the question, any JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub context: Option<Box<RawValue>>,
    /// Channel to which the question was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub channel: Option<String>,
    /// Reason for the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason_code: Option<String>,
    /// Kind of input that the run awaits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub input_kind: Option<String>,
}

/// A token for reading the events of one run.
#[derive(Serialize, ToSchema)]
pub struct PublicStreamToken {
    /// Value of the parameter `token` of the routes that list and follow the events of the run.
    pub token: String,
    /// Time from which on the token is refused; a stream that is open then goes on.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// What a caller may do.
#[derive(Serialize, ToSchema)]
pub struct PublicCaller {
    /// Id of the key; null: the server needs no keys.
    #[schema(required)]
    pub key_id: Option<String>,
    /// Project of all runs that the caller reads and writes.
    pub project: String,
    /// What the caller may do: names such as `events.read`.
    pub scopes: Vec<String>,
    /// Time from which on the key is refused; null: never.
    #[schema(format = DateTime, required)]
    pub expires_at: Option<String>,
}

/// A page of runs, newest first. A page may be short, even empty, before the end.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicRuns {
    /// Runs of the page.
    pub runs: Vec<PublicRun>,
    /// Value of `cursor` for the next page; null at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
    /// Whether there may be a next page.
    pub has_more: bool,
}

/// An event of a run.
#[derive(Debug, ToSchema)]
pub struct PublicRunEvent {
    /// Seq in the run: 1, 2, 3 … without a gap.
    pub seq: u64,
    /// Type of the event.
    pub r#type: String,
    /// Time by the producer's clock, RFC 3339 with milliseconds and `Z`.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Payload of the event.
    pub payload: PublicPayload,
    /// Why the payload is gone; absent if it is there.
    #[schema(nullable = false)]
    pub removal: Option<EventRemoval>,
    /// Seq of the first event whose text the payload holds, too, after a compaction of deltas; absent: no other text.
    #[schema(nullable = false, minimum = 1)]
    pub joined_from: Option<u64>,
}

/// An event in the stream of all runs.
#[derive(Debug, ToSchema)]
pub struct PublicFeedEvent {
    /// Run of the event.
    pub run_id: String,
    /// Seq in the run: 1, 2, 3 … without a gap.
    pub seq: u64,
    /// Type of the event.
    pub r#type: String,
    /// Origin of the event.
    pub origin: PublicOrigin,
    /// Name of the agent; absent if the event has none.
    #[schema(nullable = false)]
    pub agent_name: Option<String>,
    /// Time by the producer's clock, RFC 3339 with milliseconds and `Z`.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Payload of the event.
    pub payload: PublicPayload,
    /// Why the payload is gone; absent if it is there.
    #[schema(nullable = false)]
    pub removal: Option<EventRemoval>,
    /// Seq of the first event whose text the payload holds, too, after a compaction of deltas; absent: no other text.
    #[schema(nullable = false, minimum = 1)]
    pub joined_from: Option<u64>,
}

/// Origin of an event: the platform (`system`) or the agent (`user`).
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PublicOrigin {
    System,
    User,
}

/// A payload, as sent or in the public view.
#[derive(Debug, ToSchema)]
pub struct PublicPayload {
    /// Whether the value differs from the sent payload: members left out, tool input and output shortened, secrets
    /// masked.
    pub redacted: bool,
    /// The payload as sent, or the public view of the payload.
    pub value: Value,
}

/// A page of events. A page may be short, even empty, before the end.
#[derive(Debug, ToSchema)]
pub struct PublicRunEvents {
    /// Events in the requested order.
    pub events: Vec<PublicRunEvent>,
    /// Value of `cursor` for the next page, also set at the end.
    pub next_cursor: String,
    /// Whether more events followed the page at the time of the read.
    pub has_more: bool,
}

/// Response to a publish.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPublished {
    /// One entry for each event of the request, in order.
    pub events: Vec<PublicPublishedEvent>,
}

/// Response to one event of a publish.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPublishedEvent {
    /// Seq in the run.
    pub seq: u64,
    /// Id of the event, as sent or as generated by the server.
    pub event_id: String,
    /// Whether an earlier publish had stored the event.
    pub duplicate: bool,
}

/// Error response of every route.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicError {
    /// Text for a person: the field at fault and the correction.
    pub error: String,
    /// Reason of the error in snake_case; stable.
    pub reason_code: String,
    /// Id of the request, the same as the header `X-Request-Id`.
    pub request_id: String,
}
