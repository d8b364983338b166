//! The stream of a run.

use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use crate::domain::{Cursor, EventFilter};
use crate::service::subscribe::Start;
use crate::transport::memory::Call;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::public_runs::schema::PublicError;
use crate::transport::rest::public_runs::{ApiError, RefusedCall, RunPath};
use crate::transport::rest::query::{Query, ViewQuery};
use crate::transport::rest::resume::{ResumeHeader, ResumeQuery, RunStart};
use crate::transport::sse;

use super::stream;

/// Follows a run as AG-UI events: those of the events after the cursor, then those of new events.
///
/// Each `data:` line is an AG-UI event. The stream begins with RUN_STARTED, and with the start of each step, message and tool call
/// that is open at the cursor; these have no `id:`. Of the AG-UI events of a stored event the last one has an `id:`, the cursor of
/// the stored event. The stream ends with the run.
#[utoipa::path(get, path = "/ag-ui/runs/{id}", tag = "AG-UI", operation_id = "stream_ag_ui_events",
    params(RunPath, ResumeQuery, ResumeHeader, ViewQuery),
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
    let view = ViewQuery::take(&mut query, &gateway)?.view;
    let start = RunStart::take(&mut query, &headers)?;
    query.finish()?;
    let subscribe = start.of_run(run_id.clone(), EventFilter::default(), &gateway);
    let cursor = match &subscribe.start {
        Start::After(cursor) if !cursor.is_empty() => Cursor::parse_in_run(cursor)?.0,
        _ => 0,
    };
    // Checks the cursor, and whether anything follows.
    let mut subscription = gateway.service.subscribe(subscribe).await?;
    if subscription.has_ended() {
        return Ok(sse::no_content());
    }
    if cursor > 0 {
        // What is open at the cursor follows from all events before.
        subscription.rewind().await?;
    }
    let after = subscription.last_offset();
    let (heartbeat, resuming) = (gateway.options.sse_heartbeat, gateway.resuming);
    let reader = stream::Reader { run_id, cursor, after, view, heartbeat, resuming };
    Ok(stream::respond(subscription, reader, call))
}
