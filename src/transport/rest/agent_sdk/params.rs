//! Parameters of the agent SDK API: path, query and headers. The fields are what the parser fills and what
//! `/openapi.json` describes.

use std::collections::BTreeSet;

use axum::http::HeaderMap;
use utoipa::IntoParams;

use crate::domain::{AgentName, EventFilter, EventId, Limits, RunId, RunStatus};
use crate::transport::rest::path_variable::{self, Variable};
use crate::transport::rest::query::{Order, Query, TypesQuery, word};

use super::error::ApiError;
use super::schema::Status;

/// Header that serves as the event id of a single event, for clients that set headers more easily than members.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Events or runs in one page of a request without `limit`.
const DEFAULT_LIMIT: u64 = 100;

/// Path of the routes of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RunPath {
    /// The run.
    #[param(value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub sdk_run_id: RunId,
}

impl RunPath {
    /// Checks the run id. 422 for an invalid id.
    pub fn parse(id: Variable) -> Result<Self, ApiError> {
        let sdk_run_id = RunId::parse(&path_variable::text(id)?);
        Ok(Self { sdk_run_id: sdk_run_id.map_err(|error| ApiError::named("sdk_run_id", error))? })
    }
}

/// Page of the events of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Seq of the last event read, exclusive; absent: the beginning, or the end when descending.
    #[param(value_type = Option<String>, pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub cursor: String,
    /// Maximum number of events; absent: 100.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    pub limit: usize,
    /// Oldest or newest first; absent: asc.
    #[param(value_type = Option<Order>, inline)]
    pub order: Order,
}

impl EventsQuery {
    /// Takes `cursor`, `limit` and `order`.
    pub fn take(query: &mut Query, limits: &Limits) -> Result<Self, ApiError> {
        let cursor = query.one("cursor")?.unwrap_or_default();
        Ok(Self { cursor, limit: limit(query, limits)?, order: query.order()? })
    }
}

/// Page of runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Only these statuses; given once, separated by commas, or repeated.
    #[param(value_type = Option<Vec<Status>>)]
    pub status: Vec<RunStatus>,
    /// Only runs of this agent.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200)]
    pub agent: Option<AgentName>,
    /// Maximum number of runs; absent: 100.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    pub limit: usize,
    /// The next_cursor of an earlier page; absent: the newest runs.
    #[param(value_type = Option<String>)]
    pub cursor: String,
}

impl RunsQuery {
    /// Takes all parameters of the list.
    pub fn take(query: &mut Query, limits: &Limits) -> Result<Self, ApiError> {
        let agent = query.one("agent")?.map(|name| AgentName::parse(&name)).transpose();
        let status = statuses(query)?;
        let agent = agent.map_err(|error| ApiError::named("agent", error))?;
        let limit = limit(query, limits)?;
        Ok(Self { status, agent, limit, cursor: query.one("cursor")?.unwrap_or_default() })
    }
}

fn limit(query: &mut Query, limits: &Limits) -> Result<usize, ApiError> {
    let max = limits.max_page_size as u64;
    Ok(usize::try_from(query.number("limit", DEFAULT_LIMIT.min(max), 1..=max)?).unwrap_or(usize::MAX))
}

/// Takes `types`, with the name of the parameter in errors.
pub fn types(query: &mut Query) -> Result<EventFilter, ApiError> {
    let TypesQuery { types } = TypesQuery::take(query).map_err(|error| ApiError::named("types", error))?;
    Ok(types)
}

/// Takes `status`, given once and separated by commas, or repeated.
fn statuses(query: &mut Query) -> Result<Vec<RunStatus>, ApiError> {
    // A set, since a query may repeat a status a thousand times.
    let statuses: Option<BTreeSet<_>> = query.several("status").iter().map(|text| from_word(text)).collect();
    Ok(statuses.ok_or_else(no_status)?.into_iter().collect())
}

/// Status of this name; `None` for any other spelling.
fn from_word(text: &str) -> Option<RunStatus> {
    let status: Status = word(text)?;
    RunStatus::ALL.into_iter().find(|known| Status::from(*known) == status)
}

fn no_status() -> ApiError {
    let words: Vec<_> = RunStatus::ALL
        .into_iter()
        .filter_map(|status| serde_json::to_value(Status::from(status)).ok())
        .filter_map(|word| word.as_str().map(ToOwned::to_owned))
        .collect();
    ApiError::field("status", format!("must be one of {}", words.join(", ")))
}

/// Header of a publish.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// Event id of an event without event_id; refused with several events.
    #[param(rename = "Idempotency-Key", value_type = Option<String>, nullable = false, min_length = 1, max_length = 200)]
    pub idempotency_key: Option<EventId>,
}

impl IdempotencyHeader {
    /// Reads the header, which may be given once, in UTF-8.
    pub fn read(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else { return Ok(Self { idempotency_key: None }) };
        if keys.next().is_some() {
            return Err(ApiError::field(IDEMPOTENCY_KEY, "must be given once"));
        }
        let key = std::str::from_utf8(key.as_bytes()).map_err(|_| ApiError::field(IDEMPOTENCY_KEY, "must be UTF-8"))?;
        let key = EventId::parse(key).map_err(|error| ApiError::named(IDEMPOTENCY_KEY, error))?;
        Ok(Self { idempotency_key: Some(key) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_word_that_reads_back() {
        for status in RunStatus::ALL {
            let word = serde_json::to_value(Status::from(status)).unwrap();
            assert_eq!(from_word(word.as_str().unwrap()), Some(status));
        }
        for other in ["", "RUNNING", "succeeded", "unspecified"] {
            assert_eq!(from_word(other), None);
        }
    }
}
