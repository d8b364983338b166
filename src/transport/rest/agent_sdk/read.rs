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
use crate::service::subscribe::{Start, Subscribe};
use crate::transport::memory::Call;
use crate::transport::rest::Gateway;
use crate::transport::rest::frame::EventFrame;
use crate::transport::rest::headers::stream_cursor;
use crate::transport::rest::query::{PublicView, Query};
use crate::transport::sse::{self, EventForm};

use super::error;
use super::error::ApiError;

/// Events in one page when the reader does not say.
const DEFAULT_LIMIT: u64 = 100;

/// How this door writes an event.
fn form(view: View) -> EventForm {
    EventForm { numbers: [4, 8], view, write }
}

/// An event as it was sent, with what the server added.
#[derive(ToSchema)]
#[schema(as = AgentEvent)]
pub struct EventView<'a> {
    /// All but the payload.
    #[serde(flatten)]
    pub envelope: Envelope<'a>,
    /// The JSON text as sent, or its public view. An object where it came through this door; other producers send any JSON.
    pub payload: Value,
}

/// All of an event but its payload.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentEventEnvelope)]
pub struct Envelope<'a> {
    event_type: &'a str,
    sdk_run_id: &'a str,
    /// Its place in the run, and the cursor of everything after it.
    #[schema(minimum = 1)]
    seq: u64,
    event_id: &'a str,
    /// The producer's clock as given, or `recorded_at`.
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Timestamp,
    /// The server's clock when it was stored.
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    /// The agent, where the event names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    agent_name: Option<&'a str>,
    origin: EventOrigin,
    /// True, and there, where the payload differs from what was sent: members left out, tool input and output in short,
    /// secrets masked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
}

/// Who told.
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
    /// In the order asked for.
    pub events: Vec<EventView<'a>>,
    /// Where the page ends.
    #[serde(flatten)]
    pub end: PageEnd,
}

/// Where a page of events ends.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentEventsPageEnd)]
pub struct PageEnd {
    /// Give it back as `cursor` to go on; also at the end, so that a reader can poll.
    next_cursor: String,
    /// Whether something lay behind the page when it was read.
    has_more: bool,
    /// The run's last seq.
    last_seq: u64,
}

/// A page of a run's events.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}/events", operation_id = "agent_list_events", tag = "agent SDK",
    params(
        ("sdk_run_id" = String, Path, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
        ("cursor" = Option<String>, Query, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "The seq of the last event read, which is not read again; \
            absent: the beginning, or the end when descending"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Most events; absent: 100"),
        ("order" = inline(Option<Order>), Query, description = "Oldest or newest first; absent: asc"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types; `tool*` stands for all that begin so; \
            given once with commas between them, or repeated with one type each"),
        ("view" = inline(Option<PublicView>), Query, description = "How much of each payload: public or full; absent: as --default-view says"),
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

/// The orders of a page.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "only described")]
enum Order {
    Asc,
    Desc,
}

/// A run's events as server-sent events: those that are stored, then each as it is stored. The stream ends with the run.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}/events/stream", operation_id = "agent_stream_events",
    tag = "agent SDK",
    params(
        ("sdk_run_id" = String, Path, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
        ("cursor" = Option<String>, Query, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "Begin after this seq; absent: Last-Event-ID"),
        ("lastEventId" = Option<String>, Query, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "The id of the last event seen; wins over cursor"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^(0|[1-9][0-9]{0,17})?$", description = "The `id:` of the last event seen; absent: begin with the \
            first event"),
        ("types" = Option<Vec<String>>, Query, description = "Only these types, as in the list"),
        ("view" = inline(Option<PublicView>), Query, description = "How much of each payload, as in the list"),
    ),
    responses(
        (status = 200, description = "One `data:` line an event, its seq as `id:`", body = EventFrame,
            content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and nothing is left to tell: do not reconnect"),
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

/// Appends an event. The payload is spliced in as text, so that it stays as it was sent.
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
    // Into the object, before its brace.
    out.pop();
    out.push_str(r#","payload":"#);
    out.push_str(&payload.json);
    out.push('}');
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| unreachable!("text, numbers and times are JSON"))
}
