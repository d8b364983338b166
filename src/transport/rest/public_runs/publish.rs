//! Publishing events: one event, or an array.

use crate::transport::rest::json::Json;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::service::publish::Publish;
use crate::transport::rest::body as request_body;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::no_parameters;

use super::error::{ApiError, RefusedBody, RefusedCall};
use super::params::{ConditionHeader, IfMatch, RunPath};
use super::request::{PublicNewEventList, PublicNewEvents};
use super::schema::{PublicError, PublicPublished, PublicPublishedEvent};

/// Publishes events, stored all or none. The first event of a run creates the run. `If-Match`
/// makes the publish conditional. The body may also be one event, without an array.
#[utoipa::path(post, path = "/v1/runs/{id}/events", tag = "public runs", operation_id = "publish_public_run_events",
    params(RunPath, ConditionHeader),
    request_body = PublicNewEventList,
    responses((status = 201, description = "All events are stored", body = PublicPublished),
        (status = 404, description = "No such run, and If-Match requires one", body = PublicError),
        (status = 409, description = "An event_id belongs to an event with other content, or the run has ended \
            (--lifecycle=strict)", body = PublicError),
        (status = 412, description = "The last seq of the run differs from If-Match", body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn publish(gateway: Gateway, id: Variable, request: Request<Body>) -> Result<Response, ApiError> {
    let RunPath { id: run_id } = RunPath::parse_new(id)?;
    no_parameters(request.uri())?;
    let ConditionHeader { if_match } = ConditionHeader::read(request.headers())?;
    let limits = gateway.service.limits();
    let text = request_body::text(request, limits.max_request_bytes).await?;
    let (path, events) = PublicNewEvents::parse(&text, limits)?.into_events();
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
