//! The stream of a run.

use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::domain::{Cursor, EventFilter, Scope};
use crate::service::subscribe::{Start, Subscribe};
use crate::transport::memory::Call;
use crate::transport::rest::frame::EventFrame;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::public_runs::schema::PublicError;
use crate::transport::rest::public_runs::{ApiError, RefusedCall};
use crate::transport::rest::query::{Query, ViewQuery};
use crate::transport::rest::resume::{ResumeHeader, ResumeQuery, stream_cursor};
use crate::transport::sse;

use super::params::RunPath;
use super::stream;

/// Follows a run as AG-UI events: those of the events after the cursor, then those of new events.
///
/// Each `data:` line is an AG-UI event. The stream begins with RUN_STARTED, and with the start of each step, message and tool call
/// that is open at the cursor; these have no `id:`. Of the AG-UI events of a stored event the last one has an `id:`, the cursor of
/// the stored event. The stream ends with the run.
#[utoipa::path(get, path = "/ag-ui/runs/{id}", tag = "AG-UI", operation_id = "stream_ag_ui_events",
    params(RunPath, ResumeQuery, ResumeHeader, ViewQuery),
    responses((status = 200, description = "Server-sent events", body = EventFrame, content_type = "text/event-stream"),
        (status = 204, description = "The run has ended and no event follows"),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The cursor lies beyond the last event of the run", body = PublicError),
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
    let view = ViewQuery::take(&mut query, &gateway)?.view;
    let cursor = stream_cursor(&mut query, &headers)?;
    query.finish()?;
    let heartbeat = gateway.options.sse_heartbeat;
    let after = |cursor: &str| Subscribe {
        epoch: String::new(),
        scope: Scope::Run(run_id.clone()),
        start: Start::After(cursor.to_owned()),
        filter: EventFilter::default(),
        keep_open: false,
        wait_for_run: false,
        max_batch: 0,
        heartbeat: Some(heartbeat),
    };
    // Checks the cursor, and whether anything follows.
    let mut subscription = gateway.service.subscribe(after(&cursor)).await?;
    if subscription.has_ended() {
        return Ok(sse::no_content());
    }
    let Cursor(cursor) = if cursor.is_empty() { Cursor(0) } else { Cursor::parse_in_run(&cursor)? };
    if cursor > 0 {
        // What is open at the cursor follows from all events before. The place among the open streams is given back first.
        drop(subscription);
        subscription = gateway.service.subscribe(after("")).await?;
    }
    Ok(stream::respond(subscription, stream::Reader { run_id, cursor, view, heartbeat }, call))
}
