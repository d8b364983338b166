//! Publishing and listing the events of a run.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::codec::record;
use crate::domain::Scope;
use crate::service::list::{EventsPage, ListEvents};
use crate::service::publish::Publish;
use crate::transport::rest::query::Query;
use crate::transport::rest::{Gateway, body as request_body};
use crate::transport::sse::EventForm;

use super::headers::IfMatch;
use super::schema::{
    ConditionHeader, EventsQuery, PublicError, PublicNewEvents, PublicPublished, PublicPublishedEvent, PublicRunEvents,
    RefusedBody, RefusedCall,
};
use super::{ApiError, Id, headers, new_run_id, read, request, response, run_id};

/// Publishes one event, or an array of events, stored all or none. The first event of a run creates the run. `If-Match`
/// makes the publish conditional.
#[utoipa::path(post, path = "/v1/runs/{id}/events", tag = "public runs", operation_id = "publish_public_run_events",
    params(("id" = String, Path, description = "The run"), ConditionHeader),
    request_body = PublicNewEvents,
    responses((status = 201, description = "All events are stored", body = PublicPublished),
        (status = 404, description = "No such run, and If-Match requires one", body = PublicError),
        (status = 409, description = "An event_id belongs to an event with other content, or the run has ended \
            (--lifecycle=strict)", body = PublicError),
        (status = 412, description = "The last seq of the run differs from If-Match", body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn publish(State(gateway): State<Gateway>, id: Id, request: Request<Body>) -> Result<Response, ApiError> {
    let run_id = new_run_id(id)?;
    read::no_parameters(request.uri())?;
    let if_match = headers::if_match(request.headers())?;
    let limits = gateway.service.limits();
    let text = request_body::text(request, limits.max_request_bytes).await?;
    let (path, events) = request::new_events(&text, limits)?;
    let expected_last_seq = match if_match {
        None => None,
        Some(IfMatch::LastSeq(seq)) => Some(seq),
        Some(IfMatch::Exists) => {
            gateway.service.require_run(&run_id).await?;
            None
        }
    };
    let publish = Publish { run_id, events, expected_last_seq };
    let appended = gateway.service.publish(publish).await.map_err(|error| ApiError::of_publish(error, path))?;
    let events = appended.events.into_iter().map(|event| PublicPublishedEvent {
        seq: event.seq,
        event_id: event.event_id.to_string(),
        duplicate: event.duplicate,
    });
    Ok((StatusCode::CREATED, Json(PublicPublished { events: events.collect() })).into_response())
}

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
        cursor: read::cursor(&mut query)?,
        page_size: read::limit(&mut query, gateway.service.limits().max_page_size)?,
        descending: read::is_descending(&mut query)?,
        filter: read::types(&mut query)?,
    };
    query.finish()?;
    Ok(encoded(gateway.service.list_events(&list).await?, form)?)
}

/// The page as JSON. Payloads are copied as text and stay as sent.
fn encoded(page: EventsPage, form: EventForm) -> crate::domain::Result<Response> {
    let mut json = String::from(r#"{"events":["#);
    for (index, record) in page.records.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        form.append(&record::decode(record.bytes)?, record.sensitive, &mut json);
    }
    json.push_str(&format!(r#"],"next_cursor":{},"has_more":{}}}"#, Value::from(page.next_cursor), page.has_more));
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
