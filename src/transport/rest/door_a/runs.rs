//! Looking at runs, and cancelling them.

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Refusal;
use super::extract::{NoParameters, Parameters, Variable, json, no_members, optional_object, run_id};
use super::refusal::{BodyRefusals, Refusals};
use super::run_object::{StructureRun, StructureRunStatus};
use super::schema::{StructureRuns, StructureRunsPagination};
use crate::domain::{Error, StructureId};
use crate::service::control::Control;
use crate::transport::rest::{Gateway, Problem, request};

/// Most runs in one page. A numbered page cannot be cut short, and each run may hold an output of a MiB.
const MAX_PAGE_SIZE: u64 = 100;

/// Runs in one page when the client does not say.
const DEFAULT_PAGE_SIZE: u64 = 100;

/// Runs whose first event is read at the same time.
const CONCURRENT_READS: usize = 8;

/// List the runs of a structure, newest first. A structure without runs has an empty list.
#[utoipa::path(get, path = "/api/structures/{structure_id}/runs", tag = "structure runs",
    operation_id = "list_structure_runs",
    params(("structure_id" = String, Path, description = "The structure", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"),
           ("page" = Option<i64>, Query, description = "Counts from 1; default 1", minimum = 1),
           ("page_size" = Option<i64>, Query, description = "Default 100", minimum = 1, maximum = 100),
           ("status" = Option<Vec<StructureRunStatus>>, Query,
            description = "Only these; may be repeated. FAILED and ERROR find each other's runs too")),
    responses((status = 200, description = "The page", body = StructureRuns), Refusals))]
pub async fn list_runs(
    State(gateway): State<Gateway>,
    Variable(structure_id): Variable,
    Parameters(mut query): Parameters,
) -> Result<Response, Refusal> {
    let structure_id = StructureId::parse(&structure_id)?;
    let max = MAX_PAGE_SIZE.min(gateway.service.limits().max_page_size as u64);
    let page = query.number("page", 1, 1..=i64::MAX.unsigned_abs())?;
    let page_size = query.number("page_size", DEFAULT_PAGE_SIZE.min(max), 1..=max)?;
    let mut statuses = Vec::new();
    for name in query.all("status") {
        let problem = "must be QUEUED, STARTING, RUNNING, SUCCEEDED, FAILED, ERROR or CANCELLED";
        statuses.extend(StructureRunStatus::named(&name).ok_or_else(|| Problem::field("status", problem))?);
    }
    query.finish()?;
    let size = usize::try_from(page_size).unwrap_or(usize::MAX);
    let found = gateway.service.runs_by_page(structure_id, statuses, page, size).await?;
    let objects = stream::iter(found.runs).map(|run| StructureRun::of(&gateway.service, run));
    let list = StructureRuns {
        structure_runs: objects.buffered(CONCURRENT_READS).try_collect().await?,
        pagination: StructureRunsPagination::new(page, page_size, found.total),
    };
    Ok(json(serde_json::to_string(&list).map_err(|_| Error::Internal)?))
}

/// Get a run.
#[utoipa::path(get, path = "/api/structure-runs/{structure_run_id}", tag = "structure runs",
    operation_id = "get_structure_run",
    params(("structure_run_id" = String, Path, description = "The run", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")),
    responses((status = 200, description = "The run", body = StructureRun), Refusals))]
pub async fn get_run(
    State(gateway): State<Gateway>,
    Variable(id): Variable,
    _: NoParameters,
) -> Result<Response, Refusal> {
    let run = gateway.service.run(&run_id(&id)?).await?;
    Ok(json(StructureRun::of(&gateway.service, run).await?.to_json()?))
}

/// Cancel a run: `run.cancelled` is appended. A run that is cancelled already stays so; one that has ended otherwise is
/// refused with 409.
#[utoipa::path(post, path = "/api/structure-runs/{structure_run_id}/cancel", tag = "structure runs",
    operation_id = "cancel_structure_run",
    params(("structure_run_id" = String, Path, description = "The run", min_length = 1, max_length = 200,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")),
    responses((status = 200, description = "The cancelled run", body = StructureRun), Refusals, BodyRefusals))]
pub async fn cancel_run(
    State(gateway): State<Gateway>,
    Variable(id): Variable,
    _: NoParameters,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let run_id = run_id(&id)?;
    no_members(&optional_object(&gateway, request).await?)?;
    let run = gateway.service.control(&run_id, Control::Cancel, None, &request::current_id()).await?;
    Ok(json(StructureRun::of(&gateway.service, run).await.map_err(Error::after_commit)?.to_json()?))
}
