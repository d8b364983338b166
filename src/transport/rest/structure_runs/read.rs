//! Reading events: pages, one event by id, and the stream.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::error::{ApiError, Refusals};
use super::request::{Parameters, Variable, run_id};
use super::response::{form, json, page_json};
use super::schema::{StructureEvent, StructureEvents};
use crate::domain::{Error, EventFilter, EventId, Scope};
use crate::service::list::{EventsPage, ListEvents};
use crate::service::subscribe::{Start, Subscribe};
use crate::transport::memory::Call;
use crate::transport::rest::frame::EventFrame;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::headers::{LAST_EVENT_ID, stream_cursor};
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::query::PublicView;
use crate::transport::sse;

/// Events in one page of a request without `limit`.
const DEFAULT_LIMIT: u64 = 100;

/// List the events of a run. `next_offset` is the `offset` of the next page, also set at the end, so that a client can
/// poll.
#[utoipa::path(get, path = "/api/structure-runs/{structure_run_id}/events", tag = "structure runs",
    operation_id = "list_structure_run_events",
    params(("structure_run_id" = String, Path, description = "The run", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
           ("offset" = Option<i64>, Query, description = "Number of events to skip; default 0", minimum = 0),
           ("limit" = Option<i64>, Query, description = "Maximum number of events; default 100", minimum = 1, maximum = 1000),
           ("view" = inline(Option<PublicView>), Query, description = "View of payloads; absent: as set by --default-view")),
    responses((status = 200, description = "The page", body = StructureEvents), Refusals))]
pub async fn list_events(
    State(gateway): State<Gateway>,
    Variable(id): Variable,
    Parameters(mut query): Parameters,
) -> Result<Response, ApiError> {
    let run_id = run_id(&id)?;
    let max = gateway.service.limits().max_page_size as u64;
    let offset = query.number("offset", 0, 0..=i64::MAX.unsigned_abs())?;
    let limit = query.number("limit", DEFAULT_LIMIT.min(max), 1..=max)?;
    let form = form(query.view(gateway.options.default_view)?);
    query.finish()?;
    let list = ListEvents {
        epoch: String::new(),
        scope: Scope::Run(run_id.clone()),
        cursor: offset.to_string(),
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
    params(("event_id" = String, Path, description = "The event", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
           ("view" = inline(Option<PublicView>), Query, description = "View of the payload; absent: as set by --default-view")),
    responses((status = 200, description = "The event", body = StructureEvent), Refusals))]
pub async fn get_event(
    State(gateway): State<Gateway>,
    Variable(id): Variable,
    Parameters(mut query): Parameters,
) -> Result<Response, ApiError> {
    let form = form(query.view(gateway.options.default_view)?);
    query.finish()?;
    let event = gateway.service.find_event(&EventId::parse(&id)?).await?;
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
    params(("structure_run_id" = String, Path, description = "The run", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
           ("cursor" = Option<String>, Query, description = "Start after this seq; wins over Last-Event-ID",
            pattern = "^(0|[1-9][0-9]{0,17})?$"),
           ("lastEventId" = Option<String>, Query, description = "Id of the last event received; wins over cursor",
            pattern = "^(0|[1-9][0-9]{0,17})?$"),
           ("Last-Event-ID" = Option<String>, Header, description = "Id of the last event received",
            nullable = false, pattern = "^(0|[1-9][0-9]{0,17})?$"),
           ("view" = inline(Option<PublicView>), Query, description = "View of payloads; absent: as set by --default-view")),
    responses((status = 200, description = "The events", body = EventFrame, content_type = "text/event-stream"),
              (status = 204, description = "The run has ended and no event follows"),
              (status = 409, description = "Last-Event-ID lies past the end", body = super::schema::StructureRefusal),
              Refusals))]
pub async fn stream_events(
    State(gateway): State<Gateway>,
    Extension(call): Extension<Arc<Call>>,
    Variable(id): Variable,
    Parameters(mut query): Parameters,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let run_id = run_id(&id)?;
    let form = form(query.view(gateway.options.default_view)?);
    let cursor = stream_cursor(&mut query, &headers)?;
    query.finish()?;
    let subscribe = Subscribe {
        epoch: String::new(),
        scope: Scope::Run(run_id),
        start: Start::After(cursor),
        filter: EventFilter::default(),
        keep_open: false,
        wait_for_run: false,
        max_batch: 0,
        heartbeat: Some(gateway.options.sse_heartbeat),
    };
    let subscription = gateway.service.subscribe(subscribe).await.map_err(|error| match error {
        Error::CursorBeyondEnd { .. } => HttpError { field: Some(LAST_EVENT_ID.to_owned()), ..error.into() },
        other => other.into(),
    })?;
    Ok(sse::respond(subscription, form, call).await?)
}
