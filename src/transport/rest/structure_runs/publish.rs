//! Publishing events: one event, an array, or an array under `events`.

use axum::body::Body;
use axum::http::{Request, StatusCode};

use super::error::{ApiError, BodyRefusals, Refusals};
use super::params::RunPath;
use super::request::{PostedStructureEvents, StructureEventBatch, text};
use crate::service::publish::Publish;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::no_parameters;

/// Post events, stored in order, all or none. The response follows when the events are durable. The first event of a
/// run creates the run.
///
/// An event with a string member `id` in the payload is stored once, however often it is posted: the same run, type and
/// payload are the same event; the same `id` with another type or payload is another event. An event without `id` is
/// stored at each post.
///
/// The body may also be one event, or an array of events.
#[utoipa::path(post, path = "/api/structure-runs/{structure_run_id}/events", tag = "structure runs",
    operation_id = "post_structure_run_events",
    params(RunPath),
    request_body = StructureEventBatch,
    responses((status = 202, description = "Stored"), Refusals, BodyRefusals))]
pub async fn post_events(gateway: Gateway, id: Variable, request: Request<Body>) -> Result<StatusCode, ApiError> {
    no_parameters(request.uri())?;
    let run_id = RunPath::parse(id)?.structure_run_id;
    let text = text(&gateway, request).await?;
    let (path, events) = PostedStructureEvents::parse(&text, gateway.service.limits())?.into_events(&run_id);
    let published = gateway.service.publish(Publish { run_id, events, expected_last_seq: None }).await;
    published.map_err(|error| path.respell(error.into(), |index| index))?;
    Ok(StatusCode::ACCEPTED)
}
