//! Requests and refusals.

use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::PublicError;
use crate::transport::rest::query::PublicView;
use crate::transport::rest::time::TimeOfEvent;

/// A run to be. Null counts as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicCreateRun {
    /// The id of the run; absent: the server gives one.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub id: Option<String>,
    /// What the run shall work on.
    #[schema(required = false)]
    pub input: Value,
    /// What the client wants to find again.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// What goes with the input.
    pub attachment_refs: Option<Vec<Value>>,
    /// How sensitive the input is.
    pub sensitivity_tags: Option<Vec<Value>>,
    /// Whether the client wants streaming.
    pub streaming: Option<bool>,
    /// Where the client would like it to run.
    pub routing_hint: Option<String>,
    /// How it is routed.
    #[schema(value_type = Option<Object>)]
    pub routing: Option<Value>,
    /// The client's workspace.
    #[schema(max_length = 200)]
    pub workspace_id: Option<String>,
    /// Whom the run is for.
    #[schema(max_length = 200)]
    pub subject_id: Option<String>,
}

/// One event, or many.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PublicNewEvents {
    /// One.
    One(PublicNewEvent),
    /// Many, stored all or none.
    Many(PublicNewEventList),
}

/// Events to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub struct PublicNewEventList(pub Vec<PublicNewEvent>);

/// An event to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicNewEvent {
    /// What happened.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub r#type: String,
    /// What is told of it: any JSON.
    #[schema(required = true)]
    pub payload: Value,
    /// When, by the producer's clock. Absent, or a number that is no time of the years 1 to 9999: now.
    pub timestamp: Option<TimeOfEvent>,
    /// The same id with the same content is stored once.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub event_id: Option<String>,
    /// The agent.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub agent_name: Option<String>,
}

/// An answer to what a run asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicSignal {
    /// The answer.
    pub action: PublicAction,
    /// What goes with it: any JSON.
    #[schema(required = false)]
    pub payload: Value,
}

/// Answers to what a run asks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PublicAction {
    Approve,
    Reject,
    SubmitInput,
}

/// An object without members.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicNothing {}

/// Which runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Only these; repeatable.
    #[param(inline)]
    pub status: Option<Vec<super::PublicRunStatus>>,
    /// Most runs; 50 where absent.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The next_cursor of an earlier page.
    #[param(pattern = "^(r1-0*[1-9a-f][0-9a-f]{0,14})?$")]
    pub cursor: Option<String>,
}

/// Which events, in which order.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Most events; 50 where absent.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Exclusive: the seq of the last event that was read.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub cursor: Option<String>,
    /// The same as cursor; only one of them.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub after_seq: Option<String>,
    /// Oldest first (asc, where absent) or newest first.
    #[param(inline)]
    pub order: Option<PublicOrder>,
    /// Only these types: given once separated by commas, or repeated with one type each; one that ends in `*` takes every type
    /// that begins so.
    #[param(schema_with = types)]
    pub types: Option<Vec<String>>,
    /// Full shows members that clients supplied.
    #[param(inline)]
    pub view: Option<PublicView>,
}

/// Which events to follow.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Exclusive: the seq of the last event that was read; wins over Last-Event-ID.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub cursor: Option<String>,
    /// The id of the last event seen, as clients send it that cannot set a header; wins over cursor.
    #[param(rename = "lastEventId", pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub last_event_id: Option<String>,
    /// Only these types: given once separated by commas, or repeated with one type each; one that ends in `*` takes every type
    /// that begins so.
    #[param(schema_with = types)]
    pub types: Option<Vec<String>>,
    /// Full shows members that clients supplied.
    #[param(inline)]
    pub view: Option<PublicView>,
}

/// Of calls that may be repeated.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// Makes a repeated request safe: the same key with the same request is carried out once.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 200, pattern = "^[!-~]([ -~]{0,198}[!-~])?$")]
    pub idempotency_key: Option<String>,
}

/// Of a conditional publish.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ConditionHeader {
    /// The run's last seq, plain or quoted; `*` asks for nothing more than the run.
    #[param(rename = "If-Match", pattern = "^(\\*|[0-9]{1,18}|\"[0-9]{1,18}\")$")]
    pub if_match: Option<String>,
}

/// Of a reader that lost its connection.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ResumeHeader {
    /// As the parameter cursor, which wins over it.
    #[param(rename = "Last-Event-ID", pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub last_event_id: Option<String>,
}

/// Directions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PublicOrder {
    Asc,
    Desc,
}

fn types() -> Array {
    let item = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^([^*]{1,199}\\*?|\\*)$"));
    ArrayBuilder::new().items(item).max_items(Some(100)).build()
}

/// Refusals of every call.
#[derive(Debug, IntoResponses)]
#[allow(missing_docs, reason = "the descriptions say it")]
pub enum RefusedCall {
    #[response(status = 406, description = "The client takes nothing that the server has")]
    NotAcceptable(PublicError),
    #[response(status = 422, description = "A parameter or member is unknown or not as it must be; it is named")]
    Invalid(PublicError),
    #[response(status = 500, description = "A defect or a damaged store")]
    Internal(PublicError),
    #[response(status = 503, description = "The server cannot serve now; see Retry-After")]
    Unavailable(PublicError),
}

/// Refusals of calls with a body.
#[derive(Debug, IntoResponses)]
#[allow(missing_docs, reason = "the descriptions say it")]
pub enum RefusedBody {
    #[response(status = 400, description = "The body is not JSON")]
    Malformed(PublicError),
    #[response(status = 413, description = "The body is too large")]
    TooLarge(PublicError),
    #[response(status = 415, description = "The body says that it is not JSON")]
    UnsupportedType(PublicError),
}
