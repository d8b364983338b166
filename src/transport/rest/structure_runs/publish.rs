//! Publishing events: one event, an array, or an array under `events`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};

use super::error::{ApiError, BodyRefusals, Refusals};
use super::request::{NoParameters, Variable, new_events, run_id, text};
use super::schema::PostedStructureEvents;
use crate::service::publish::Publish;
use crate::transport::rest::gateway::Gateway;

/// Post events, stored in order, all or none. The response follows when the events are durable. The first event of a
/// run creates the run.
///
/// An event with a string member `id` in the payload is stored once, however often it is posted: the same run, type and
/// payload are the same event; the same `id` with another type or payload is another event. An event without `id` is
/// stored at each post.
#[utoipa::path(post, path = "/api/structure-runs/{structure_run_id}/events", tag = "structure runs",
    operation_id = "post_structure_run_events",
    params(("structure_run_id" = String, Path, description = "The run", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")),
    request_body = PostedStructureEvents,
    responses((status = 202, description = "Stored"), Refusals, BodyRefusals))]
pub async fn post_events(
    State(gateway): State<Gateway>,
    Variable(id): Variable,
    _: NoParameters,
    request: Request<Body>,
) -> Result<StatusCode, ApiError> {
    let run_id = run_id(&id)?;
    let text = text(&gateway, request).await?;
    let (path, events) = new_events(&run_id, &text, gateway.service.limits())?;
    let published = gateway.service.publish(Publish { run_id, events, expected_last_seq: None }).await;
    published.map_err(|error| path.respell(error.into(), |index| index))?;
    Ok(StatusCode::ACCEPTED)
}
