//! `GET /api/runs/{sdk_run_id}/events`, as pages and as a stream.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::codec::record;
use crate::domain::json::public_view::ShownPayload;
use crate::domain::{AgentName, Event, Origin, Scope, View};
use crate::service::list::ListEvents;
use crate::service::live::recent_events::EncodingKey;
use crate::service::subscribe::{Start, Subscribe};
use crate::transport::memory::Call;
use crate::transport::rest::Gateway;
use crate::transport::rest::frame::EventFrame;
use crate::transport::rest::headers::stream_cursor;
use crate::transport::rest::query::{PublicView, Query};
use crate::transport::sse::{self, EventForm};

use super::error;
use super::error::ApiError;

/// Events in one page of a request without `limit`.
const DEFAULT_LIMIT: u64 = 100;

/// JSON form of events in this API.
fn form(view: View) -> EventForm {
    EventForm { keys: [EncodingKey::AgentSdkPublic, EncodingKey::AgentSdkFull], view, write }
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
}

/// All members of an event except the payload.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentEventEnvelope)]
pub struct Envelope<'a> {
    event_type: &'a str,
    sdk_run_id: &'a str,
    /// Seq in the run: 1, 2, 3 … without a gap. Also the cursor of the following events.
    #[schema(minimum = 1)]
    seq: u64,
    event_id: &'a str,
    /// Time by the producer's clock; the same as `recorded_at` if the producer gave none.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// Time of storage by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    /// Name of the agent; absent if the event has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    agent_name: Option<&'a str>,
    origin: EventOrigin,
    /// True if the payload differs from the sent one: members left out, tool input and output shortened, secrets
    /// masked; otherwise absent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
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
    next_cursor: String,
    /// Whether more events followed the page at the time of the read.
    has_more: bool,
    /// Seq of the last event of the run.
    last_seq: u64,
}

/// List the events of a run, a page at a time.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}/events", operation_id = "agent_list_events", tag = "agent SDK",
    params(
        ("sdk_run_id" = String, Path, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
        ("cursor" = Option<String>, Query, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "Seq of the last event read, exclusive; \
            absent: the beginning, or the end when descending"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Maximum number of events; absent: 100"),
        ("order" = inline(Option<Order>), Query, description = "Oldest or newest first; absent: asc"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types; `tool*` matches all types with this prefix; \
            given once, separated by commas, or repeated with one type each"),
        ("view" = inline(Option<PublicView>), Query, description = "View of payloads: public or full; absent: as set by --default-view"),
    ),
    responses((status = 200, description = "A page", body = EventsReply), error::OfARun, error::OfACursor,
        error::OfAnyCall))]
pub async fn list_events(
    State(gateway): State<Gateway>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let run_id = super::run_id(path)?;
    let mut query = Query::parse(query.as_deref());
    let max = gateway.service.limits().max_page_size as u64;
    let list = ListEvents {
        epoch: String::new(),
        scope: Scope::Run(run_id),
        cursor: query.one("cursor")?.unwrap_or_default(),
        page_size: usize::try_from(query.number("limit", DEFAULT_LIMIT.min(max), 1..=max)?).unwrap_or(usize::MAX),
        descending: match query.one("order")?.as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(_) => return Err(ApiError::field("order", "must be asc or desc")),
        },
        filter: super::types(&mut query)?,
    };
    let form = form(query.view(gateway.options.default_view)?);
    query.finish()?;
    let page = gateway.service.list_events(&list).await?;
    let mut body = String::from(r#"{"events":["#);
    for (index, stored) in page.records.into_iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        form.append(&record::decode(stored.bytes)?, stored.sensitive, &mut body);
    }
    let end = PageEnd { next_cursor: page.next_cursor, has_more: page.has_more, last_seq: page.last_seq };
    body.push_str("],");
    body.push_str(&json(&end)[1..]);
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Order of a page.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only described")]
enum Order {
    Asc,
    Desc,
}

/// Follow the events of a run as server-sent events: stored events first, then new events. The stream ends with the
/// run.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}/events/stream", operation_id = "agent_stream_events",
    tag = "agent SDK",
    params(
        ("sdk_run_id" = String, Path, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
        ("cursor" = Option<String>, Query, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "Begin after this seq; absent: Last-Event-ID"),
        ("lastEventId" = Option<String>, Query, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "Id of the last event received; wins over cursor"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "The `id:` of the last event received; absent: begin with the \
            first event"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types, as in the list"),
        ("view" = inline(Option<PublicView>), Query, description = "View of payloads, as in the list"),
    ),
    responses(
        (status = 200, description = "One frame an event: a `data:` line, and the seq as `id:`", body = EventFrame,
            content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and no event follows: do not reconnect"),
        error::OfARun, error::OfACursor, error::OfAnyCall))]
pub async fn stream_events(
    State(gateway): State<Gateway>,
    Extension(call): Extension<Arc<Call>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let run_id = super::run_id(path)?;
    let mut query = Query::parse(query.as_deref());
    let cursor = stream_cursor(&mut query, &headers)?;
    let subscribe = Subscribe {
        epoch: String::new(),
        scope: Scope::Run(run_id),
        start: Start::After(cursor),
        filter: super::types(&mut query)?,
        keep_open: false,
        wait_for_run: false,
        max_batch: 0,
        heartbeat: Some(gateway.options.sse_heartbeat),
    };
    let form = form(query.view(gateway.options.default_view)?);
    query.finish()?;
    Ok(sse::respond(gateway.service.subscribe(subscribe).await?, form, call).await?)
}

/// Appends an event. The payload is inserted as text and stays as sent.
fn write(event: &Event, payload: &ShownPayload<'_>, out: &mut String) {
    let envelope = Envelope {
        event_type: event.event_type.as_str(),
        sdk_run_id: event.run_id.as_str(),
        seq: event.seq,
        event_id: event.event_id.as_str(),
        occurred_at: event.occurred_at,
        recorded_at: event.recorded_at,
        agent_name: event.agent_name.as_ref().map(AgentName::as_str),
        origin: match event.origin {
            Origin::System => EventOrigin::System,
            Origin::User => EventOrigin::User,
        },
        redacted: payload.redacted,
    };
    out.push_str(&json(&envelope));
    // Reopens the object: the payload goes before the closing brace.
    out.pop();
    out.push_str(r#","payload":"#);
    out.push_str(&payload.json);
    out.push('}');
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| unreachable!("text, numbers and times are JSON"))
}
