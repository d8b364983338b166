//! Control of a run: signal, cancel and resume.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::{IntoResponse, Response};

use crate::service::control::Control;
use crate::transport::rest::{Gateway, HttpError, body as request_body, request_context as this_request};

use super::schema::{IdempotencyHeader, PublicError, PublicNothing, PublicRun, PublicSignal, RefusedBody, RefusedCall};
use super::{ApiError, Id, headers, read, request, response, run_id};

/// Answers an open question of the run by `run.signal_applied` or `run.input_received`. The run continues when a worker
/// or `resume` reports so.
#[utoipa::path(post, path = "/v1/runs/{id}/signal", tag = "public runs", operation_id = "signal_public_run",
    params(("id" = String, Path, description = "The run"), IdempotencyHeader),
    request_body = PublicSignal,
    responses((status = 200, description = "The run after the signal", body = PublicRun),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The run awaits no input, or the key was used for another request",
            body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn signal(State(gateway): State<Gateway>, id: Id, request: Request<Body>) -> Result<Response, ApiError> {
    carry_out(gateway, id, request, request::signal).await
}

/// Cancels the run. A cancelled run stays cancelled.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", tag = "public runs", operation_id = "cancel_public_run",
    params(("id" = String, Path, description = "The run"), IdempotencyHeader),
    request_body = Option<PublicNothing>,
    responses((status = 200, description = "The run after the cancellation", body = PublicRun),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The run has ended otherwise", body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn cancel(State(gateway): State<Gateway>, id: Id, request: Request<Body>) -> Result<Response, ApiError> {
    carry_out(gateway, id, request, |text| request::nothing(text).map(|()| Control::Cancel)).await
}

/// Resumes a run: a stalled run is queued again, a run that awaits input runs.
#[utoipa::path(post, path = "/v1/runs/{id}/resume", tag = "public runs", operation_id = "resume_public_run",
    params(("id" = String, Path, description = "The run"), IdempotencyHeader),
    request_body = Option<PublicNothing>,
    responses((status = 200, description = "The run after the resumption", body = PublicRun),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The run is neither stalled nor awaits input, or the key was used for another \
            request", body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn resume(State(gateway): State<Gateway>, id: Id, request: Request<Body>) -> Result<Response, ApiError> {
    carry_out(gateway, id, request, |text| request::nothing(text).map(|()| Control::Resume)).await
}

async fn carry_out(
    gateway: Gateway,
    id: Id,
    request: Request<Body>,
    decode: impl Fn(&str) -> Result<Control, HttpError>,
) -> Result<Response, ApiError> {
    let run_id = run_id(id)?;
    read::no_parameters(request.uri())?;
    let key = headers::idempotency_key(request.headers())?;
    let text = request_body::text(request, gateway.service.limits().max_request_bytes).await?;
    let control = decode(&text)?;
    let run = gateway.service.control(&run_id, control, key.as_deref(), &this_request::current_id()).await;
    Ok(Json(response::run(run.map_err(ApiError::of_keyed)?)?).into_response())
}
