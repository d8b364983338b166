//! `GET /api/runs` and `GET /api/runs/{sdk_run_id}`.

use crate::transport::rest::json::Json;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};

use crate::domain::{Result, RunFilter};
use crate::service::runs::ListRuns;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::{Query, no_parameters};

use super::error;
use super::error::ApiError;
use super::params::{RunPath, RunsQuery};
use super::schema::{RunView, RunsReply};

/// List runs, newest first.
#[utoipa::path(get, path = "/api/runs", operation_id = "agent_list_runs", tag = "agent SDK",
    params(RunsQuery),
    responses((status = 200, description = "A page", body = RunsReply), error::OfAnyCall))]
pub async fn list_runs(gateway: Gateway, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::parse(uri.query());
    let RunsQuery { status, agent, limit, cursor } = RunsQuery::take(&mut query, gateway.service.limits())?;
    query.finish()?;
    let filter = RunFilter { statuses: status, agent_name: agent, ..RunFilter::default() };
    let list = ListRuns { filter, cursor, page_size: limit };
    let page = gateway.service.list_runs(list).await?;
    let runs = page.runs.into_iter().map(RunView::new).collect::<Result<_>>()?;
    let next_cursor = Some(page.next_cursor).filter(|token| !token.is_empty());
    Ok(Json(RunsReply { runs, next_cursor }).into_response())
}

/// Get a run by id.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}", operation_id = "agent_get_run", tag = "agent SDK",
    params(RunPath),
    responses((status = 200, description = "The run", body = RunView), error::OfARun, error::OfAnyCall))]
pub async fn get_run(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let RunPath { sdk_run_id } = RunPath::parse(id)?;
    no_parameters(&uri)?;
    Ok(Json(RunView::new(gateway.service.run(&sdk_run_id).await?)?).into_response())
}
