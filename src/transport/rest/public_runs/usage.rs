//! Tokens and cost of runs: parameters, handler and response.

use crate::transport::rest::json::Json;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::RunStatus;
use crate::domain::usage::{UsageGroup, UsageGrouping, UsageKey, UsageReport, UsageTotals};
use crate::service::control::status_name;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::query::{Query, word};

use super::error::{ApiError, RefusedCall};
use super::params::RunFilterQuery;

/// Grouping of sums over runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// What the runs of a group have in common; absent: no groups, only the total.
    #[param(value_type = Option<PublicUsageGrouping>, inline)]
    pub group_by: Option<UsageGrouping>,
}

impl UsageQuery {
    /// Takes `group_by`.
    pub fn take(query: &mut Query) -> Result<Self, HttpError> {
        let group_by = match query.one("group_by")?.as_deref().map(word) {
            None => None,
            Some(Some(PublicUsageGrouping::Agent)) => Some(UsageGrouping::Agent),
            Some(Some(PublicUsageGrouping::Model)) => Some(UsageGrouping::Model),
            Some(Some(PublicUsageGrouping::Day)) => Some(UsageGrouping::Day),
            Some(Some(PublicUsageGrouping::Status)) => Some(UsageGrouping::Status),
            Some(None) => return Err(HttpError::field("group_by", "must be agent, model, day or status")),
        };
        Ok(Self { group_by })
    }
}

/// What the runs of a group have in common; a day is one of UTC.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PublicUsageGrouping {
    Agent,
    Model,
    Day,
    Status,
}

/// Sums over runs, by group.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicUsageReport {
    /// Sums over all groups.
    pub total: PublicUsageTotals,
    /// The groups by falling cost, then by falling total of tokens: at most 1,000, and one more with the key null for the
    /// runs of all others. Empty without `group_by`.
    pub groups: Vec<PublicUsageGroup>,
    /// Whether every run of the project was examined; false: only the newest 1,000,000.
    pub complete: bool,
}

/// Sums over the runs of one group.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicUsageGroup {
    /// The agent, the model, the day as `2026-04-02`, or the status as runs show it; empty: the runs have no agent or no model;
    /// null: the runs of all groups beyond the first 1,000.
    #[schema(required = true)]
    pub key: Option<String>,
    /// The sums.
    pub totals: PublicUsageTotals,
}

/// Sums of the usage of runs. One run adds at most 9,000,000,000,000 to each of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct PublicUsageTotals {
    /// Number of runs, those without a reported usage included.
    pub runs: u64,
    /// Number of input tokens.
    pub prompt_tokens: u64,
    /// Number of output tokens.
    pub completion_tokens: u64,
    /// Number of all tokens, as reported.
    pub total_tokens: u64,
    /// Cost in US dollars.
    pub cost_usd: f64,
}

/// Sums tokens and cost over runs, by agent, model, day or status, and counts the runs.
#[utoipa::path(get, path = "/v1/usage", tag = "public runs", operation_id = "get_public_usage",
    params(UsageQuery, RunFilterQuery),
    responses((status = 200, description = "The sums", body = PublicUsageReport), RefusedCall))]
pub async fn get(gateway: Gateway, uri: Uri) -> Result<Response, ApiError> {
    let mut query = Query::parse(uri.query());
    let UsageQuery { group_by } = UsageQuery::take(&mut query)?;
    let filter = RunFilterQuery::take(&mut query)?.filter();
    query.finish()?;
    let UsageReport { groups, total, complete } = gateway.service.usage(filter, group_by).await?;
    Ok(Json(PublicUsageReport { total: sums(total), groups: shown(groups), complete }).into_response())
}

/// The groups as the API shows them. A run without any status event is shown as queued, so both groups are one.
fn shown(groups: Vec<UsageGroup>) -> Vec<PublicUsageGroup> {
    let (unset, mut groups): (Vec<_>, Vec<_>) =
        groups.into_iter().partition(|group| group.key == Some(UsageKey::Status(RunStatus::Unspecified)));
    for UsageGroup { totals, .. } in unset {
        let queued = Some(UsageKey::Status(RunStatus::Queued));
        match groups.iter_mut().find(|group| group.key == queued) {
            Some(group) => group.totals.add(&totals),
            None => groups.push(UsageGroup { key: queued, totals }),
        }
        groups.sort_by(|a, b| UsageTotals::by_falling_cost(&a.totals, &b.totals));
    }
    let name = |key| match key {
        UsageKey::Name(name) => name,
        UsageKey::Status(status) => status_name(status),
    };
    let group = |UsageGroup { key, totals }| PublicUsageGroup { key: key.map(name), totals: sums(totals) };
    groups.into_iter().map(group).collect()
}

fn sums(totals: UsageTotals) -> PublicUsageTotals {
    let UsageTotals { runs, prompt_tokens, completion_tokens, total_tokens, cost_usd } = totals;
    PublicUsageTotals { runs, prompt_tokens, completion_tokens, total_tokens, cost_usd }
}
