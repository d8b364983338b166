//! Schemas of requests, and error responses.

use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::PublicError;
use crate::transport::rest::query::PublicView;
use crate::transport::rest::time::TimeOfEvent;

/// A run to create. Null counts as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicCreateRun {
    /// Id of the run; absent: the server generates an id.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub id: Option<String>,
    /// Input of the run, any JSON.
    #[schema(required = false)]
    pub input: Value,
    /// The client's own data about the run.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// References to attachments of the input.
    pub attachment_refs: Option<Vec<Value>>,
    /// Tags for the sensitivity of the input.
    pub sensitivity_tags: Option<Vec<Value>>,
    /// Whether the client asks for streaming.
    pub streaming: Option<bool>,
    /// The client's preferred routing.
    pub routing_hint: Option<String>,
    /// Routing of the run.
    #[schema(value_type = Option<Object>)]
    pub routing: Option<Value>,
    /// Id of the client's workspace.
    #[schema(max_length = 200)]
    pub workspace_id: Option<String>,
    /// Id of the subject of the run.
    #[schema(max_length = 200)]
    pub subject_id: Option<String>,
}

/// One event, or an array of events.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum PublicNewEvents {
    /// A single event.
    One(PublicNewEvent),
    /// Several events, stored all or none.
    Many(PublicNewEventList),
}

/// Several events, stored all or none.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub struct PublicNewEventList(pub Vec<PublicNewEvent>);

/// An event to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicNewEvent {
    /// Type of the event.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub r#type: String,
    /// Payload of the event, any JSON.
    #[schema(required = true)]
    pub payload: Value,
    /// Time by the producer's clock. Absent, or a number outside the years 1 to 9999: the server's clock.
    pub timestamp: Option<TimeOfEvent>,
    /// Makes a retry safe: the same id with the same content is stored once.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub event_id: Option<String>,
    /// Name of the agent.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub agent_name: Option<String>,
}

/// An answer to an open question of a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublicSignal {
    /// Kind of the answer.
    pub action: PublicAction,
    /// Data of the answer, any JSON.
    #[schema(required = false)]
    pub payload: Value,
}

/// Kinds of answers to an open question.
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

/// Parameters of a list of runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Only runs with these statuses; repeatable.
    #[param(inline)]
    pub status: Option<Vec<super::PublicRunStatus>>,
    /// Maximum number of runs; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The next_cursor of an earlier page.
    #[param(pattern = "^(r1-0*[1-9a-f][0-9a-f]{0,14})?$")]
    pub cursor: Option<String>,
}

/// Parameters of a list of events.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Maximum number of events; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Seq of the last event read, exclusive.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub cursor: Option<String>,
    /// The same as cursor; only one of the two may be given.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub after_seq: Option<String>,
    /// Oldest first (asc, the default) or newest first (desc).
    #[param(inline)]
    pub order: Option<PublicOrder>,
    /// Only these types: given once, separated by commas, or repeated with one type each; `*` at the end of a type
    /// matches every type with the prefix.
    #[param(schema_with = types)]
    pub types: Option<Vec<String>>,
    /// View of payloads; full shows the members that clients supplied.
    #[param(inline)]
    pub view: Option<PublicView>,
}

/// Parameters of an event stream.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Seq of the last event read, exclusive; wins over Last-Event-ID.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub cursor: Option<String>,
    /// Id of the last event received, for clients that cannot set a header; wins over cursor.
    #[param(rename = "lastEventId", pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub last_event_id: Option<String>,
    /// Only these types: given once, separated by commas, or repeated with one type each; `*` at the end of a type
    /// matches every type with the prefix.
    #[param(schema_with = types)]
    pub types: Option<Vec<String>>,
    /// View of payloads; full shows the members that clients supplied.
    #[param(inline)]
    pub view: Option<PublicView>,
}

/// Header of calls that may be repeated.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// Makes a retry safe: the same key with the same request takes effect once.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 200, pattern = "^[!-~]([ -~]{0,198}[!-~])?$")]
    pub idempotency_key: Option<String>,
}

/// Header of a conditional publish.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ConditionHeader {
    /// Last seq of the run, plain or quoted, 0 for a run that does not exist; `*`: the run exists.
    #[param(rename = "If-Match", pattern = "^(\\*|[0-9]{1,18}|\"[0-9]{1,18}\")$")]
    pub if_match: Option<String>,
}

/// Header of a reconnecting client.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ResumeHeader {
    /// Id of the last event received; the parameter cursor wins over this header.
    #[param(rename = "Last-Event-ID", pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub last_event_id: Option<String>,
}

/// Order of a page of events.
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

/// Error responses of all routes.
#[derive(Debug, IntoResponses)]
#[allow(missing_docs, reason = "the descriptions say it")]
pub enum RefusedCall {
    #[response(status = 406, description = "The Accept header excludes the media type of the response")]
    NotAcceptable(PublicError),
    #[response(status = 422, description = "A parameter or member is unknown or invalid; the text names it")]
    Invalid(PublicError),
    #[response(status = 500, description = "A defect of the server or damaged data")]
    Internal(PublicError),
    #[response(status = 503, description = "The server cannot serve now; see Retry-After")]
    Unavailable(PublicError),
}

/// Error responses of routes with a body.
#[derive(Debug, IntoResponses)]
#[allow(missing_docs, reason = "the descriptions say it")]
pub enum RefusedBody {
    #[response(status = 400, description = "The body is not JSON")]
    Malformed(PublicError),
    #[response(status = 413, description = "The body is too large")]
    TooLarge(PublicError),
    #[response(status = 415, description = "The Content-Type is not JSON, or the Content-Encoding is not supported")]
    UnsupportedType(PublicError),
}
