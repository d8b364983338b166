//! `GET /api/runs/{sdk_run_id}/events`, as pages and as a stream.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use crate::domain::Scope;
use crate::service::list::ListEvents;
use crate::service::subscribe::{Start, Subscribe};
use crate::transport::memory::Call;
use crate::transport::rest::frame::EventFrame;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::headers::stream_cursor;
use crate::transport::rest::query::{PublicView, Query};
use crate::transport::sse;

use super::error;
use super::error::ApiError;
use super::request::{run_id, types};
use super::response::{form, page_json};
use super::schema::EventsReply;

/// Events in one page of a request without `limit`.
const DEFAULT_LIMIT: u64 = 100;

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
    let run_id = run_id(path)?;
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
        filter: types(&mut query)?,
    };
    let form = form(query.view(gateway.options.default_view)?);
    query.finish()?;
    let page = gateway.service.list_events(&list).await?;
    Ok(([(CONTENT_TYPE, "application/json")], page_json(page, form)?).into_response())
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
    let run_id = run_id(path)?;
    let mut query = Query::parse(query.as_deref());
    let cursor = stream_cursor(&mut query, &headers)?;
    let subscribe = Subscribe {
        epoch: String::new(),
        scope: Scope::Run(run_id),
        start: Start::After(cursor),
        filter: types(&mut query)?,
        keep_open: false,
        wait_for_run: false,
        max_batch: 0,
        heartbeat: Some(gateway.options.sse_heartbeat),
    };
    let form = form(query.view(gateway.options.default_view)?);
    query.finish()?;
    Ok(sse::respond(gateway.service.subscribe(subscribe).await?, form, call).await?)
}
