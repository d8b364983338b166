//! `GET /api/runs/{sdk_run_id}/events`, as pages and as a stream.

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

use super::error;
use super::error::ApiError;
use super::params::{EventsQuery, RunPath, types};
use super::response::{form, page_json};
use super::schema::EventsReply;

/// List the events of a run, a page at a time.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}/events", operation_id = "agent_list_events", tag = "agent SDK",
    params(RunPath, EventsQuery, TypesQuery, ViewQuery),
    responses((status = 200, description = "A page", body = EventsReply), error::OfARun, error::OfACursor,
        error::OfAnyCall))]
pub async fn list_events(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let RunPath { sdk_run_id } = RunPath::parse(id)?;
    let mut query = Query::parse(uri.query());
    let EventsQuery { cursor, limit, order } = EventsQuery::take(&mut query, gateway.service.limits())?;
    let list = ListEvents {
        epoch: String::new(),
        scope: Scope::Run(sdk_run_id),
        cursor,
        page_size: limit,
        descending: order == Order::Desc,
        filter: types(&mut query)?,
    };
    let form = form(ViewQuery::take(&mut query, &gateway)?.view);
    query.finish()?;
    let page = gateway.service.list_events(&list).await?;
    Ok(JsonText(page_json(page, form)?).into_response())
}

/// Follow the events of a run as server-sent events: stored events first, then new events. The stream ends with the
/// run.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}/events/stream", operation_id = "agent_stream_events",
    tag = "agent SDK",
    params(RunPath, ResumeQuery, ResumeHeader, TypesQuery, ViewQuery),
    responses(
        (status = 200, description = "One frame an event: a `data:` line, and the seq as `id:`", body = String,
            content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and no event follows: do not reconnect"),
        error::OfARun, error::OfACursor, error::OfAnyCall))]
pub async fn stream_events(
    gateway: Gateway,
    Extension(call): Extension<Arc<Call>>,
    id: Variable,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let RunPath { sdk_run_id } = RunPath::parse(id)?;
    let mut query = Query::parse(uri.query());
    let start = RunStart::take(&mut query, &headers)?;
    let subscribe = start.of_run(sdk_run_id, types(&mut query)?, &gateway);
    let form = form(ViewQuery::take(&mut query, &gateway)?.view);
    query.finish()?;
    Ok(sse::respond(gateway.service.subscribe(subscribe).await?, form, call).await?)
}
