//! Spans, which the Griptape observability driver posts. Each span is stored as an event of the run.

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri};
use axum::response::Response;
use serde_json::value::RawValue;

use super::error::{ApiError, BodyRefusals, Refusals};
use super::ids::content_id;
use super::params::{PageQuery, RunPath};
use super::request::{Posted, text};
use super::response::json;
use super::schema::{StructureSpanBatch, StructureSpans};
use crate::codec::record;
use crate::domain::json::Members;
use crate::domain::{EventFilter, EventType, Limits, NewEvent, Payload, RunId, Scope, time};
use crate::service::list::ListEvents;
use crate::service::publish::Publish;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::{Query, ViewQuery, no_parameters};

/// Event type of a span; the payload is the span as sent.
const EVENT_TYPE: &str = "Span";

/// Post spans, stored in order, all or none, each as an event of type `Span`. The response follows when the events are
/// durable.
///
/// A span with a `span_id` is stored once, however often it is posted; the same `span_id` with other content is another
/// event. The body may also be one span, or an array of spans.
#[utoipa::path(post, path = "/api/structure-runs/{structure_run_id}/spans", tag = "structure runs",
    operation_id = "post_structure_run_spans",
    params(RunPath),
    request_body = StructureSpanBatch,
    responses((status = 200, description = "Stored"), Refusals, BodyRefusals))]
pub async fn post_spans(gateway: Gateway, id: Variable, request: Request<Body>) -> Result<StatusCode, ApiError> {
    no_parameters(request.uri())?;
    let run_id = RunPath::parse(id)?.structure_run_id;
    let text = text(&gateway, request).await?;
    let events = new_events(&run_id, &text, gateway.service.limits())?;
    gateway.service.publish(Publish { run_id, events, expected_last_seq: None }).await?;
    // The driver treats any status except 200 as a failure.
    Ok(StatusCode::OK)
}

/// List the spans of a run in the order of storage, as sent. A page that is not full is the last.
#[utoipa::path(get, path = "/api/structure-runs/{structure_run_id}/spans", tag = "structure runs",
    operation_id = "list_structure_run_spans",
    params(RunPath, PageQuery, ViewQuery),
    responses((status = 200, description = "The page", body = StructureSpans), Refusals))]
pub async fn list_spans(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let scope = Scope::Run(RunPath::parse(id)?.structure_run_id);
    let mut query = Query::parse(uri.query());
    let PageQuery { page, page_size } = PageQuery::take(&mut query, gateway.service.limits())?;
    let ViewQuery { view } = ViewQuery::take(&mut query, &gateway)?;
    query.finish()?;
    let filter = EventFilter::parse(&[EVENT_TYPE.to_owned()], Vec::new())?;
    let (mut before, mut spans, mut cursor) = ((page - 1).saturating_mul(page_size), Vec::new(), String::new());
    // One call scans a limited part of the log, so several calls may be needed. Only the spans of the page are kept.
    loop {
        let (scope, filter, page_size_of_log) = (scope.clone(), filter.clone(), gateway.service.limits().max_page_size);
        let list =
            ListEvents { scope, cursor, page_size: page_size_of_log, descending: false, filter, epoch: String::new() };
        let log = gateway.service.list_events(&list).await?;
        for stored in log.records {
            if before > 0 {
                before -= 1;
            } else if (spans.len() as u64) < page_size {
                let event = record::decode(stored.bytes)?;
                let view = view.where_it_may_differ(stored.sensitive);
                spans.push(view.show(event.event_type.as_str(), event.payload.as_str()).json.into_owned());
            }
        }
        if spans.len() as u64 == page_size || !log.has_more {
            return Ok(json(format!(r#"{{"spans":[{}],"page":{page}}}"#, spans.join(","))));
        }
        cursor = log.next_cursor;
    }
}

/// Spans of a body: one span, an array, or an array under `spans`.
fn new_events(run_id: &RunId, text: &str, limits: &Limits) -> Result<Vec<NewEvent>, HttpError> {
    match Posted::parse(text, "spans", limits.max_request_events)? {
        Posted::One(_) => Ok(vec![new_event(run_id, text.trim(), "body", limits)?]),
        Posted::Several(path, spans) => {
            let event = |(i, span): (usize, &RawValue)| new_event(run_id, span.get(), &path.of(i), limits);
            spans.into_iter().enumerate().map(event).collect()
        }
    }
}

fn new_event(run_id: &RunId, span: &str, path: &str, limits: &Limits) -> Result<NewEvent, HttpError> {
    if !span.starts_with('{') {
        return Err(HttpError::field(path, "must be an object"));
    }
    let event_type = EventType::parse(EVENT_TYPE)?;
    let payload = Payload::parse(&event_type, span, limits).map_err(|error| error.under(path))?;
    let members = Members::parse(payload.as_str());
    let has_id = members.string("span_id").is_some_and(|id| !id.is_empty());
    // A span is posted at the end of the operation. An invalid time does not refuse the span.
    let occurred_at = ["end_time", "start_time"].into_iter().find_map(|name| time::parse(&members.string(name)?).ok());
    let event_id = has_id.then(|| content_id(run_id, &event_type, payload.as_str())).flatten();
    Ok(NewEvent { event_id, occurred_at, ..NewEvent::new(event_type, payload) })
}
