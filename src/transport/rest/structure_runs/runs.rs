//! Runs: create, list, get and cancel.

use axum::body::Body;
use axum::http::{Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::error::{ApiError, BodyRefusals, Refusals};
use super::ids::run_id_of;
use super::params::{IdempotencyHeader, PageQuery, RunPath, StatusQuery, StructurePath, renamed};
use super::request::{CreateStructureRun, StructureNothing, optional_object};
use super::response::{StructureRun, json};
use super::schema::{StructureRuns, StructureRunsPagination};
use crate::domain::{Error, Result, RunFilter, RunId};
use crate::service::Service;
use crate::service::control::Control;
use crate::service::runs::CreateRun;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::json::parted;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::{Query, no_parameters};
use crate::transport::rest::request_id;

/// Largest response that is sent in one piece; a longer response is streamed.
const MAX_WHOLE_BYTES: usize = 3 << 20;

/// Create a run. The first event, `run.created`, makes the run QUEUED.
///
/// With an `Idempotency-Key`, a repeat with the same body returns the same run with 200; with another body, 409.
#[utoipa::path(post, path = "/api/structures/{structure_id}/runs", tag = "structure runs",
    operation_id = "create_structure_run",
    params(StructurePath, IdempotencyHeader),
    request_body = Option<CreateStructureRun>,
    responses((status = 201, description = "Created", body = StructureRun),
              (status = 200, description = "Created earlier with the same key", body = StructureRun),
              Refusals, BodyRefusals))]
pub async fn create_run(
    gateway: Gateway,
    id: Variable,
    request: Request<Body>,
) -> std::result::Result<Response, ApiError> {
    no_parameters(request.uri())?;
    let StructurePath { structure_id } = StructurePath::parse(id)?;
    let IdempotencyHeader { idempotency_key } = IdempotencyHeader::read(request.headers())?;
    let text = optional_object(&gateway, request).await?;
    let create = CreateRun {
        run_id: idempotency_key.as_deref().map(|key| run_id_of(&structure_id, key)).transpose()?,
        idempotency_key,
        agent_name: None,
        structure_id: Some(structure_id),
        first_event: Some(CreateStructureRun::parse(&text)?.into_event(gateway.service.limits())?),
    };
    let (run, repeated) = gateway.service.create_run(create).await.map_err(refusal)?;
    let status = if repeated { StatusCode::OK } else { StatusCode::CREATED };
    let run = StructureRun::of(&gateway.service, run).await.map_err(Error::after_commit)?;
    Ok((status, json(run.to_json()?)).into_response())
}

fn refusal(error: Error) -> ApiError {
    match error {
        Error::EventIdConflict { .. } | Error::RunExists { .. } => {
            let message = "this Idempotency-Key created a run with another body; use a new key for another run";
            let problem = HttpError::new(StatusCode::CONFLICT, "IDEMPOTENCY_KEY_CONFLICT", message);
            HttpError { field: Some("Idempotency-Key".to_owned()), ..problem }.into()
        }
        other => renamed(other, "idempotency_key", "Idempotency-Key").into(),
    }
}

/// List the runs of a structure, newest first. A structure without runs has an empty list.
#[utoipa::path(get, path = "/api/structures/{structure_id}/runs", tag = "structure runs",
    operation_id = "list_structure_runs",
    params(StructurePath, PageQuery, StatusQuery),
    responses((status = 200, description = "The page", body = StructureRuns), Refusals))]
pub async fn list_runs(gateway: Gateway, id: Variable, uri: Uri) -> std::result::Result<Response, ApiError> {
    let StructurePath { structure_id } = StructurePath::parse(id)?;
    let mut query = Query::parse(uri.query());
    let PageQuery { page, page_size } = PageQuery::take(&mut query, gateway.service.limits())?;
    let StatusQuery { status } = StatusQuery::take(&mut query)?;
    query.finish()?;
    let size = usize::try_from(page_size).unwrap_or(usize::MAX);
    let filter = RunFilter { statuses: status, structure_id: Some(structure_id), ..RunFilter::default() };
    let found = gateway.service.runs_by_page(&filter, page, size).await?;
    let pagination = StructureRunsPagination::new(page, page_size, found.total);
    let pagination = serde_json::to_string(&pagination).map_err(Error::internal)?;
    let service = gateway.service;
    // One run at a time: the memory reserved for the call is enough for one run, and the client reads no faster.
    let objects = stream::iter(found.run_ids).then(move |run_id| object(service.clone(), run_id));
    let mut objects = Box::pin(objects);
    let mut text = String::from(r#"{"structure_runs":["#);
    while let Some(object) = objects.next().await {
        if !text.ends_with('[') {
            text.push(',');
        }
        text.push_str(&object?);
        if text.len() > MAX_WHOLE_BYTES {
            return Ok(in_parts(text, objects, pagination));
        }
    }
    text.push_str(&format!(r#"],"pagination":{pagination}}}"#));
    Ok(json(text))
}

async fn object(service: Service, run_id: RunId) -> Result<String> {
    let run = service.run(&run_id).await?;
    StructureRun::of(&service, run).await?.to_json()
}

/// Streams a long page and reads the runs at the pace of the client. The response breaks off if a run cannot be read.
fn in_parts(begun: String, rest: impl Stream<Item = Result<String>> + Send + 'static, pagination: String) -> Response {
    let rest = rest.map_ok(|object| format!(",{object}"));
    let end = format!(r#"],"pagination":{pagination}}}"#);
    let parts = stream::iter([Ok(begun)]).chain(rest).chain(stream::iter([Ok(end)]));
    parted(parts)
}

/// Get a run by id.
#[utoipa::path(get, path = "/api/structure-runs/{structure_run_id}", tag = "structure runs",
    operation_id = "get_structure_run",
    params(RunPath),
    responses((status = 200, description = "The run", body = StructureRun), Refusals))]
pub async fn get_run(gateway: Gateway, id: Variable, uri: Uri) -> std::result::Result<Response, ApiError> {
    no_parameters(&uri)?;
    let run = gateway.service.run(&RunPath::parse(id)?.structure_run_id).await?;
    Ok(json(StructureRun::of(&gateway.service, run).await?.to_json()?))
}

/// Cancel a run: appends `run.cancelled`. A cancelled run stays cancelled; a run that has ended otherwise answers 409.
#[utoipa::path(post, path = "/api/structure-runs/{structure_run_id}/cancel", tag = "structure runs",
    operation_id = "cancel_structure_run",
    params(RunPath),
    request_body = Option<StructureNothing>,
    responses((status = 200, description = "The cancelled run", body = StructureRun), Refusals, BodyRefusals))]
pub async fn cancel_run(
    gateway: Gateway,
    id: Variable,
    request: Request<Body>,
) -> std::result::Result<Response, ApiError> {
    no_parameters(request.uri())?;
    let run_id = RunPath::parse(id)?.structure_run_id;
    StructureNothing::parse(&optional_object(&gateway, request).await?)?;
    let run = gateway.service.control(&run_id, Control::Cancel, None, &request_id::current()).await?;
    Ok(json(StructureRun::of(&gateway.service, run).await.map_err(Error::after_commit)?.to_json()?))
}
