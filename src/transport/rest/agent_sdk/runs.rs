//! `GET /api/runs` and `GET /api/runs/{sdk_run_id}`.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};

use crate::domain::{AgentName, Result};
use crate::service::runs::ListRuns;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::query::Query;

use super::error;
use super::error::ApiError;
use super::request::{run_id, statuses};
use super::schema::{RunView, RunsReply, Status};

/// Runs in one page of a request without `limit`.
const DEFAULT_LIMIT: u64 = 100;

/// List runs, newest first.
#[utoipa::path(get, path = "/api/runs", operation_id = "agent_list_runs", tag = "agent SDK",
    params(
        ("status" = Option<Vec<Status>>, Query, description = "Only these statuses; given once, separated by commas, or repeated"),
        ("agent" = Option<String>, Query, min_length = 1, max_length = 200, description = "Only runs of this agent"),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Maximum number of runs; absent: 100"),
        ("cursor" = Option<String>, Query, description = "The next_cursor of an earlier page; absent: the newest runs"),
    ),
    responses((status = 200, description = "A page", body = RunsReply), error::OfAnyCall))]
pub async fn list_runs(State(gateway): State<Gateway>, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    let mut query = Query::parse(query.as_deref());
    let max = gateway.service.limits().max_page_size as u64;
    let agent_name = query.one("agent")?.map(|name| AgentName::parse(&name)).transpose();
    let list = ListRuns {
        statuses: statuses(&mut query)?,
        agent_name: agent_name.map_err(|error| ApiError::named("agent", error))?,
        structure_id: None,
        page_size: usize::try_from(query.number("limit", DEFAULT_LIMIT.min(max), 1..=max)?).unwrap_or(usize::MAX),
        cursor: query.one("cursor")?.unwrap_or_default(),
    };
    query.finish()?;
    let page = gateway.service.list_runs(list).await?;
    let runs = page.runs.into_iter().map(RunView::new).collect::<Result<_>>()?;
    let next_cursor = Some(page.next_cursor).filter(|token| !token.is_empty());
    Ok(Json(RunsReply { runs, next_cursor }).into_response())
}

/// Get a run by id.
#[utoipa::path(get, path = "/api/runs/{sdk_run_id}", operation_id = "agent_get_run", tag = "agent SDK",
    params(("sdk_run_id" = String, Path, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")),
    responses((status = 200, description = "The run", body = RunView), error::OfARun, error::OfAnyCall))]
pub async fn get_run(
    State(gateway): State<Gateway>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let run_id = run_id(path)?;
    Query::parse(query.as_deref()).finish()?;
    Ok(Json(RunView::new(gateway.service.run(&run_id).await?)?).into_response())
}
