//! Reading events: pages, and the stream.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

use crate::domain::Scope;
use crate::service::list::ListEvents;
use crate::service::subscribe::{Start, Subscribe};
use crate::transport::memory::Call;
use crate::transport::rest::frame::EventFrame;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::headers::stream_cursor;
use crate::transport::rest::query::Query;
use crate::transport::sse;

use super::error::ApiError;
use super::request::{self, Id, run_id};
use super::response;
use super::schema::{EventsQuery, PublicError, PublicRunEvents, RefusedCall, ResumeHeader, StreamQuery};

/// A page of the events of a run.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "public runs", operation_id = "list_public_run_events",
    params(("id" = String, Path, description = "The run"), EventsQuery),
    responses((status = 200, description = "A page of events", body = PublicRunEvents),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The cursor lies beyond the last event of the run", body = PublicError), RefusedCall))]
pub async fn list(State(gateway): State<Gateway>, id: Id, uri: Uri) -> Result<Response, ApiError> {
    let run_id = run_id(id)?;
    let mut query = Query::parse(uri.query());
    let form = response::form(query.view(gateway.options.default_view)?);
    let list = ListEvents {
        epoch: String::new(),
        scope: Scope::Run(run_id),
        cursor: request::cursor(&mut query)?,
        page_size: request::limit(&mut query, gateway.service.limits().max_page_size)?,
        descending: request::is_descending(&mut query)?,
        filter: request::types(&mut query)?,
    };
    query.finish()?;
    let page = response::page_json(gateway.service.list_events(&list).await?, form)?;
    Ok(([(CONTENT_TYPE, "application/json")], page).into_response())
}

/// Follows a run: events after the cursor, then new events. Each `data:` line is a `PublicRunEvent`, each `id:` the
/// cursor of the event. The stream ends with the run.
#[utoipa::path(get, path = "/v1/runs/{id}/events/stream", tag = "public runs",
    operation_id = "stream_public_run_events",
    params(("id" = String, Path, description = "The run"), StreamQuery, ResumeHeader),
    responses((status = 200, description = "Server-sent events", body = EventFrame, content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and no event follows"),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The cursor lies beyond the last event of the run", body = PublicError),
        (status = 429, description = "Too many streams are open", body = PublicError), RefusedCall))]
pub async fn follow(
    State(gateway): State<Gateway>,
    Extension(call): Extension<Arc<Call>>,
    id: Id,
    uri: Uri,
    header_map: HeaderMap,
) -> Result<Response, ApiError> {
    let run_id = run_id(id)?;
    let mut query = Query::parse(uri.query());
    let form = response::form(query.view(gateway.options.default_view)?);
    let cursor = stream_cursor(&mut query, &header_map)?;
    let filter = request::types(&mut query)?;
    query.finish()?;
    let subscribe = Subscribe {
        epoch: String::new(),
        scope: Scope::Run(run_id),
        start: Start::After(cursor),
        filter,
        keep_open: false,
        wait_for_run: false,
        max_batch: 0,
        heartbeat: Some(gateway.options.sse_heartbeat),
    };
    Ok(sse::respond(gateway.service.subscribe(subscribe).await?, form, call).await?)
}
