//! Runs: create, list, get, signal, cancel and resume.

use crate::transport::rest::json::Json;
use axum::body::Body;
use axum::http::header::LOCATION;
use axum::http::{Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::domain::{Result as DomainResult, RunId};
use crate::service::control::{Control, keyed_request_id};
use crate::service::runs::{CreateRun, ListRuns};
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::{Query, no_parameters};
use crate::transport::rest::{body as request_body, request_id as this_request};

use super::create::PublicCreateRun;
use super::error::{ApiError, RefusedBody, RefusedCall};
use super::params::{IdempotencyHeader, RunFilterQuery, RunPath, RunsQuery};
use super::request::{PublicNothing, PublicSignal};
use super::response;
use super::schema::{PublicError, PublicRun, PublicRuns};

/// Creates a run. The first event is `run.created` with the members of the request. The same `Idempotency-Key` with the
/// same body returns the same run.
#[utoipa::path(post, path = "/v1/runs", tag = "public runs", operation_id = "create_public_run",
    params(IdempotencyHeader),
    request_body = Option<PublicCreateRun>,
    responses((status = 201, description = "The run was created", body = PublicRun),
        (status = 200, description = "An earlier request with this key created the run", body = PublicRun),
        (status = 409, description = "The key was used with another body, or a run with this id exists", body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn create(gateway: Gateway, request: Request<Body>) -> Result<Response, ApiError> {
    no_parameters(request.uri())?;
    let IdempotencyHeader { idempotency_key: key } = IdempotencyHeader::read(request.headers())?;
    let limits = gateway.service.limits();
    let text = request_body::text(request, limits.max_request_bytes).await?;
    // The request id in the event is derived from the key, so that a repeated request writes the same event.
    let request_id = key.as_deref().map_or_else(this_request::current, keyed_request_id);
    let run = PublicCreateRun::parse(&text)?;
    let create = CreateRun {
        first_event: Some(run.first_event(&request_id, limits)?),
        run_id: run.id,
        idempotency_key: key,
        agent_name: None,
        structure_id: None,
    };
    let (run, already_existed) = gateway.service.create_run(create).await.map_err(ApiError::of_keyed)?;
    if already_existed {
        return Ok(Json(response::run(run)?).into_response());
    }
    let location = [(LOCATION, format!("/v1/runs/{}", path_segment(&run.run_id)))];
    Ok((StatusCode::CREATED, location, Json(response::run(run)?)).into_response())
}

/// The run id as a path segment: a space as `%20`, `/` as `%2F`.
fn path_segment(run_id: &RunId) -> String {
    // The form encoding writes a space as `+`, and a plus as `%2B`.
    form_urlencoded::byte_serialize(run_id.as_str().as_bytes()).collect::<String>().replace('+', "%20")
}

/// Lists runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "public runs", operation_id = "list_public_runs",
    params(RunFilterQuery, RunsQuery),
    responses((status = 200, description = "A page of runs", body = PublicRuns), RefusedCall))]
pub async fn list(gateway: Gateway, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::parse(uri.query());
    let filter = RunFilterQuery::take(&mut query)?.filter();
    let RunsQuery { limit, cursor } = RunsQuery::take(&mut query, gateway.service.limits())?;
    query.finish()?;
    let list = ListRuns { filter, cursor, page_size: limit };
    let page = gateway.service.list_runs(list).await?;
    let runs = page.runs.into_iter().map(response::run).collect::<DomainResult<_>>()?;
    let next_cursor = Some(page.next_cursor).filter(|token| !token.is_empty());
    Ok(Json(PublicRuns { runs, has_more: next_cursor.is_some(), next_cursor }).into_response())
}

/// Returns a run by id.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "public runs", operation_id = "get_public_run",
    params(RunPath),
    responses((status = 200, description = "The run", body = PublicRun),
        (status = 404, description = "No such run", body = PublicError), RefusedCall))]
pub async fn get(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let RunPath { id } = RunPath::parse(id)?;
    no_parameters(&uri)?;
    Ok(Json(response::run(gateway.service.run(&id).await?)?).into_response())
}

/// Answers an open question of the run by `run.signal_applied` or `run.input_received`. The run continues when a worker
/// or `resume` reports so.
#[utoipa::path(post, path = "/v1/runs/{id}/signal", tag = "public runs", operation_id = "signal_public_run",
    params(RunPath, IdempotencyHeader),
    request_body = PublicSignal,
    responses((status = 200, description = "The run after the signal", body = PublicRun),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The run awaits no input, or the key was used for another request",
            body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn signal(gateway: Gateway, id: Variable, request: Request<Body>) -> Result<Response, ApiError> {
    carry_out(gateway, id, request, |text| PublicSignal::parse(text).map(Into::into)).await
}

/// Cancels the run. A cancelled run stays cancelled.
#[utoipa::path(post, path = "/v1/runs/{id}/cancel", tag = "public runs", operation_id = "cancel_public_run",
    params(RunPath, IdempotencyHeader),
    request_body = Option<PublicNothing>,
    responses((status = 200, description = "The run after the cancellation", body = PublicRun),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The run has ended otherwise", body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn cancel(gateway: Gateway, id: Variable, request: Request<Body>) -> Result<Response, ApiError> {
    carry_out(gateway, id, request, |text| PublicNothing::parse(text).map(|_| Control::Cancel)).await
}

/// Resumes a run: a stalled run is queued again, a run that awaits input runs.
#[utoipa::path(post, path = "/v1/runs/{id}/resume", tag = "public runs", operation_id = "resume_public_run",
    params(RunPath, IdempotencyHeader),
    request_body = Option<PublicNothing>,
    responses((status = 200, description = "The run after the resumption", body = PublicRun),
        (status = 404, description = "No such run", body = PublicError),
        (status = 409, description = "The run is neither stalled nor awaits input, or the key was used for another \
            request", body = PublicError),
        (status = 429, description = "A limit is reached; see Retry-After", body = PublicError), RefusedBody, RefusedCall))]
pub async fn resume(gateway: Gateway, id: Variable, request: Request<Body>) -> Result<Response, ApiError> {
    carry_out(gateway, id, request, |text| PublicNothing::parse(text).map(|_| Control::Resume)).await
}

async fn carry_out(
    gateway: Gateway,
    id: Variable,
    request: Request<Body>,
    decode: impl Fn(&str) -> Result<Control, HttpError>,
) -> Result<Response, ApiError> {
    let RunPath { id } = RunPath::parse(id)?;
    no_parameters(request.uri())?;
    let IdempotencyHeader { idempotency_key: key } = IdempotencyHeader::read(request.headers())?;
    let text = request_body::text(request, gateway.service.limits().max_request_bytes).await?;
    let control = decode(&text)?;
    let run = gateway.service.control(&id, control, key.as_deref(), &this_request::current()).await;
    Ok(Json(response::run(run.map_err(ApiError::of_keyed)?)?).into_response())
}
