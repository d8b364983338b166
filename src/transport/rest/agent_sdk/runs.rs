//! `GET /api/runs` and `GET /api/runs/{sdk_run_id}`.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::{AgentName, Error, PendingInput, Result, Run, Usage};
use crate::service::runs::ListRuns;
use crate::transport::rest::Gateway;
use crate::transport::rest::query::Query;

use super::error;
use super::error::ApiError;
use super::status::{self, Status};

/// Runs in one page of a request without `limit`.
const DEFAULT_LIMIT: u64 = 100;

/// State of a run, computed from the events of the run.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRun)]
pub struct RunView {
    sdk_run_id: String,
    status: Status,
    /// Name of the agent, from the first event with a name.
    #[schema(required)]
    agent_name: Option<String>,
    /// The `output` of the `run_end`, any JSON as sent.
    #[schema(value_type = Value, required)]
    output: Option<Box<RawValue>>,
    /// Payload of the `error` that ended the run, in the public view.
    #[schema(value_type = Value, required)]
    error: Option<Box<RawValue>>,
    /// Token counts of the `run_end`; null if not reported.
    #[schema(required)]
    tokens: Option<Tokens>,
    /// Cost in US dollars; null if not reported.
    #[schema(required)]
    cost_usd: Option<f64>,
    /// Name of the model; null if not reported.
    #[schema(required)]
    model: Option<String>,
    /// The oldest open question; null without open questions.
    #[schema(required)]
    pending_input: Option<PendingInputView>,
    /// All open questions, oldest first.
    pending_inputs: Vec<PendingInputView>,
    /// Number of open questions.
    pending_input_count: usize,
    /// Time of the first event by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Time of the last event by the server's clock.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Time of the first start by the producer's clock.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    started_at: Option<Timestamp>,
    /// Time of the end by the producer's clock.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    completed_at: Option<Timestamp>,
    /// Seq of the last event.
    last_seq: u64,
}

/// Token counts of a run.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRunTokens)]
struct Tokens {
    prompt: u64,
    completion: u64,
    total: u64,
}

/// An open question of a run. Members that the event lacks are null.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRunPendingInput)]
struct PendingInputView {
    /// Id by which an answer refers to the question.
    #[schema(required)]
    question_id: Option<String>,
    #[schema(required)]
    question: Option<String>,
    /// Context of the question, any JSON as sent.
    #[schema(value_type = Value, required)]
    context: Option<Box<RawValue>>,
    #[schema(required)]
    channel: Option<String>,
    #[schema(required)]
    reason_code: Option<String>,
    #[schema(required)]
    input_kind: Option<String>,
    /// Seq of the event with the question.
    requested_seq: u64,
}

/// A page of runs.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentRunsPage)]
pub struct RunsReply {
    /// Runs of the page, newest first.
    runs: Vec<RunView>,
    /// Value of `cursor` for the next page; null at the end. A page may be short before the end.
    #[schema(required)]
    next_cursor: Option<String>,
}

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
    // A set, since a query may repeat a status a thousand times.
    let statuses: Option<BTreeSet<_>> = query.several("status").iter().map(|word| status::from_word(word)).collect();
    let list = ListRuns {
        statuses: statuses.ok_or_else(no_status)?.into_iter().collect(),
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
    let run_id = super::run_id(path)?;
    Query::parse(query.as_deref()).finish()?;
    Ok(Json(RunView::new(gateway.service.run(&run_id).await?)?).into_response())
}

fn no_status() -> ApiError {
    let words: Vec<_> = crate::domain::RunStatus::ALL
        .into_iter()
        .filter_map(|status| serde_json::to_value(Status::from(status)).ok())
        .filter_map(|word| word.as_str().map(ToOwned::to_owned))
        .collect();
    ApiError::field("status", format!("must be one of {}", words.join(", ")))
}

impl RunView {
    fn new(run: Run) -> Result<Self> {
        let (tokens, cost_usd, model) = match run.usage {
            None => (None, None, None),
            Some(Usage {
                prompt_tokens: prompt,
                completion_tokens: completion,
                total_tokens: total,
                cost_usd,
                model,
            }) => {
                // Zero counts were not reported.
                let tokens = Some(Tokens { prompt, completion, total })
                    .filter(|tokens| tokens.prompt.max(tokens.completion).max(tokens.total) > 0);
                (tokens, Some(cost_usd).filter(|cost| *cost > 0.0), said(model))
            }
        };
        Ok(Self {
            sdk_run_id: run.run_id.to_string(),
            status: run.status.into(),
            agent_name: run.agent_name.map(|name| name.to_string()),
            output: raw(run.output_json)?,
            error: raw(run.error_json)?,
            tokens,
            cost_usd,
            model,
            pending_input: run.pending_inputs.first().cloned().map(PendingInputView::new).transpose()?,
            pending_input_count: run.pending_inputs.len(),
            pending_inputs: run.pending_inputs.into_iter().map(PendingInputView::new).collect::<Result<_>>()?,
            created_at: run.created_at,
            updated_at: run.updated_at,
            started_at: run.started_at,
            completed_at: run.completed_at,
            last_seq: run.last_seq,
        })
    }
}

impl PendingInputView {
    fn new(pending: PendingInput) -> Result<Self> {
        let PendingInput { question_id, question, context_json, channel, reason_code, input_kind, requested_seq } =
            pending;
        Ok(Self {
            question_id: question_id.and_then(said),
            question: said(question),
            context: raw(said(context_json))?,
            channel: said(channel),
            reason_code: said(reason_code),
            input_kind: said(input_kind),
            requested_seq,
        })
    }
}

fn said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Stored JSON text, as sent.
fn raw(json: Option<String>) -> Result<Option<Box<RawValue>>> {
    json.map(RawValue::from_string).transpose().map_err(|cause| {
        tracing::error!(%cause, "a stored document of a run is no JSON");
        Error::StoreDamaged
    })
}
