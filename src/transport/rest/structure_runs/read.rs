//! Reading events: pages, one event by id, and the stream.

use std::sync::Arc;

use axum::Extension;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;

use super::error::{ApiError, Refusals};
use super::params::{EventsQuery, RunPath, StoredEventPath};
use super::response::{form, json, page_json};
use super::schema::{StructureEvent, StructureEvents};
use crate::domain::{Error, EventFilter, Scope};
use crate::service::list::{EventsPage, ListEvents};
use crate::transport::memory::Call;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::{Query, ViewQuery};
use crate::transport::rest::resume::{LAST_EVENT_ID, ResumeHeader, ResumeQuery, RunStart};
use crate::transport::sse;

/// List the events of a run. `next_offset` is the `offset` of the next page, also set at the end, so that a client can
/// poll.
#[utoipa::path(get, path = "/api/structure-runs/{structure_run_id}/events", tag = "structure runs",
    operation_id = "list_structure_run_events",
    params(RunPath, EventsQuery, ViewQuery),
    responses((status = 200, description = "The page", body = StructureEvents), Refusals))]
pub async fn list_events(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let run_id = RunPath::parse(id)?.structure_run_id;
    let mut query = Query::parse(uri.query());
    let EventsQuery { offset, limit } = EventsQuery::take(&mut query, gateway.service.limits())?;
    let form = form(ViewQuery::take(&mut query, &gateway)?.view);
    query.finish()?;
    let list = ListEvents {
        epoch: String::new(),
        scope: Scope::Run(run_id.clone()),
        // 0 is the first event that is kept.
        cursor: if offset == 0 { String::new() } else { offset.to_string() },
        page_size: usize::try_from(limit).unwrap_or(usize::MAX),
        descending: false,
        filter: EventFilter::default(),
    };
    match gateway.service.list_events(&list).await {
        Ok(page) => Ok(json(page_json(page, form, offset, limit)?)),
        // A client that polls beyond the end gets an empty page with the requested offset.
        Err(Error::CursorBeyondEnd { .. }) => {
            let last_seq = gateway.service.run(&run_id).await?.last_seq;
            let nothing = EventsPage { last_seq, ..EventsPage::default() };
            Ok(json(page_json(nothing, form, offset, limit)?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Get an event by id, of any run.
#[utoipa::path(get, path = "/api/events/{event_id}", tag = "structure runs", operation_id = "get_structure_event",
    params(StoredEventPath, ViewQuery),
    responses((status = 200, description = "The event", body = StructureEvent), Refusals))]
pub async fn get_event(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::parse(uri.query());
    let form = form(ViewQuery::take(&mut query, &gateway)?.view);
    query.finish()?;
    let event = gateway.service.find_event(&StoredEventPath::parse(id)?.event_id).await?;
    let mut text = String::new();
    form.append(&event, event.payload.is_sensitive(), &mut text);
    Ok(json(text))
}

/// Follow a run: stored events from the first on, then new events. The server closes the stream at the end of the run.
///
/// Each frame is `id: <seq>` and one `data:` line with the event as JSON. `Last-Event-ID` continues after that event;
/// if the run has ended and no event follows, the response is 204.
#[utoipa::path(get, path = "/api/structure-runs/{structure_run_id}/events/stream", tag = "structure runs",
    operation_id = "stream_structure_run_events",
    params(RunPath, ResumeQuery, ResumeHeader, ViewQuery),
    responses((status = 200, description = "The events", body = String, content_type = "text/event-stream"),
              (status = 204, description = "The run has ended and no event follows"),
              (status = 409, description = "Last-Event-ID lies past the end", body = super::schema::StructureRefusal),
              (status = 410, description = "The events after the id are not kept any more",
               body = super::schema::StructureRefusal),
              Refusals))]
pub async fn stream_events(
    gateway: Gateway,
    Extension(call): Extension<Arc<Call>>,
    id: Variable,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let run_id = RunPath::parse(id)?.structure_run_id;
    let mut query = Query::parse(uri.query());
    let form = form(ViewQuery::take(&mut query, &gateway)?.view);
    let start = RunStart::take(&mut query, &headers)?;
    query.finish()?;
    let subscribe = start.of_run(run_id, EventFilter::default(), &gateway);
    let subscription = gateway.service.subscribe(subscribe).await.map_err(|error| match error {
        Error::CursorBeyondEnd { .. } => HttpError { field: Some(LAST_EVENT_ID.to_owned()), ..error.into() },
        other => other.into(),
    })?;
    Ok(sse::respond(subscription, form, call).await?)
}
