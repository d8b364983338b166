//! Reading events: pages, and the stream.

use std::sync::Arc;

use crate::transport::rest::json::JsonText;
use axum::Extension;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

use crate::domain::Scope;
use crate::service::list::ListEvents;
use crate::transport::memory::Call;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::{Order, Query, TypesQuery, ViewQuery};
use crate::transport::rest::resume::{ResumeHeader, ResumeQuery, RunStart};
use crate::transport::sse;

use super::error::{ApiError, RefusedCall};
use super::params::{EventsQuery, RunPath, types};
use super::response;
use super::schema::{PublicError, PublicRunEvents};

/// A page of the events of a run.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "public runs", operation_id = "list_public_run_events",
    params(RunPath, EventsQuery, TypesQuery, ViewQuery),
    responses((status = 200, description = "A page of events", body = PublicRunEvents),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The cursor lies beyond the last event of the run", body = PublicError),
        (status = 410, description = "The events after the cursor are not kept any more", body = PublicError), RefusedCall))]
pub async fn list(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let RunPath { id: run_id } = RunPath::parse(id)?;
    let mut query = Query::parse(uri.query());
    let form = response::form(ViewQuery::take(&mut query, &gateway)?.view);
    let EventsQuery { limit, cursor, after_seq, order } = EventsQuery::take(&mut query, gateway.service.limits())?;
    let list = ListEvents {
        epoch: String::new(),
        scope: Scope::Run(run_id),
        cursor: cursor.or(after_seq).unwrap_or_default(),
        page_size: limit,
        descending: order == Order::Desc,
        filter: types(&mut query)?,
    };
    query.finish()?;
    let page = response::page_json(gateway.service.list_events(&list).await?, form)?;
    Ok(JsonText(page).into_response())
}

/// Follows a run: events after the cursor, then new events. Each `data:` line is a `PublicRunEvent`, each `id:` the
/// cursor of the event. The stream ends with the run.
#[utoipa::path(get, path = "/v1/runs/{id}/events/stream", tag = "public runs",
    operation_id = "stream_public_run_events",
    params(RunPath, ResumeQuery, ResumeHeader, TypesQuery, ViewQuery),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and no event follows"),
        (status = 404, description = "No such run, and wait is not true", body = PublicError),
        (status = 409, description = "The cursor lies beyond the last event of the run", body = PublicError),
        (status = 410, description = "The events after the cursor are not kept any more", body = PublicError),
        (status = 429, description = "Too many streams are open", body = PublicError), RefusedCall))]
pub async fn follow(
    gateway: Gateway,
    Extension(call): Extension<Arc<Call>>,
    id: Variable,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let RunPath { id: run_id } = RunPath::parse(id)?;
    let mut query = Query::parse(uri.query());
    let form = response::form(ViewQuery::take(&mut query, &gateway)?.view);
    let start = RunStart::take(&mut query, &headers)?;
    let subscribe = start.of_run(run_id, types(&mut query)?, &gateway);
    query.finish()?;
    Ok(sse::respond(gateway.service.subscribe(subscribe).await?, form, call).await?)
}
