//! What door C's bodies look like, as `/openapi.json` describes them. Answers are written from these types; requests are
//! read member by member in `body.rs`, so that a refusal names the member.

mod requests;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use requests::*;

/// What the events of a run add up to.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicRun {
    /// Identifies the run.
    pub id: String,
    /// Where it stands.
    #[schema(value_type = PublicRunStatus)]
    pub status: String,
    /// When its first event was recorded.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its last event was recorded.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// When it first started; null before.
    #[schema(format = DateTime, required = true)]
    pub started_at: Option<String>,
    /// When it ended; null before.
    #[schema(format = DateTime, required = true)]
    pub completed_at: Option<String>,
    /// The seq of its last event.
    pub last_seq: u64,
    /// What it produced; null until then.
    #[schema(value_type = Value, required = true)]
    pub output: Option<Box<RawValue>>,
    /// What went wrong, without the members that clients supplied; null while nothing did.
    #[schema(value_type = Value, required = true)]
    pub error: Option<Box<RawValue>>,
    /// Its agent, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent_name: Option<String>,
    /// What it used, where something was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub usage: Option<PublicUsage>,
    /// The oldest question that it waits on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pending_input: Option<PublicPendingInput>,
    /// All questions that it waits on, oldest first; absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub pending_inputs: Vec<PublicPendingInput>,
    /// How many these are.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub pending_input_count: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Where a run stands. The last three are final.
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

/// What a run used, as it was reported.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicUsage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// All tokens as reported.
    pub total_tokens: u64,
    /// Cost in US dollars.
    pub cost_usd: f64,
    /// The model named last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub model: Option<String>,
}

/// A question that a run waits on; what was not said is absent.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPendingInput {
    /// The seq of the event that asked.
    pub requested_seq: u64,
    /// The id by which an answer names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub question_id: Option<String>,
    /// The question in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub question: Option<String>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value)]
    pub context: Option<Box<RawValue>>,
    /// Where the question was put.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub channel: Option<String>,
    /// Why input is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason_code: Option<String>,
    /// What kind of input is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub input_kind: Option<String>,
}

/// A page of runs, newest first. May be short, even empty, while there is more.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicRuns {
    /// The runs.
    pub runs: Vec<PublicRun>,
    /// The `cursor` of the next page; null at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
    /// Whether there may be more.
    pub has_more: bool,
}

/// An event as everybody may see it.
#[derive(Debug, ToSchema)]
pub struct PublicRunEvent {
    /// Its place in the run: 1, 2, 3 … without a gap.
    pub seq: u64,
    /// What happened.
    pub r#type: String,
    /// When, by the producer's clock.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// What the producer told of it.
    pub payload: PublicPayload,
}

/// A payload, and whether something was left out.
#[derive(Debug, ToSchema)]
pub struct PublicPayload {
    /// Whether the value differs from what was sent: members left out, tool input and output in short, secrets masked.
    pub redacted: bool,
    /// The payload as sent, or what is left of it.
    pub value: Value,
}

/// A page of events. May be short, even empty, while there is more.
#[derive(Debug, ToSchema)]
pub struct PublicRunEvents {
    /// The events in the order asked for.
    pub events: Vec<PublicRunEvent>,
    /// The `cursor` to go on from, also at the end.
    pub next_cursor: String,
    /// Whether something lay behind the page.
    pub has_more: bool,
}

/// The answer to a publish.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPublished {
    /// One for each event, in their order.
    pub events: Vec<PublicPublishedEvent>,
}

/// The answer to one event.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicPublishedEvent {
    /// Its place in the run.
    pub seq: u64,
    /// Its id, as sent or as given by the server.
    pub event_id: String,
    /// Whether an earlier publish had stored it.
    pub duplicate: bool,
}

/// A refusal.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicError {
    /// For a person: what is wrong, where, and what to do.
    pub error: String,
    /// For a program.
    pub reason_code: String,
    /// For the server's log.
    pub request_id: String,
}
