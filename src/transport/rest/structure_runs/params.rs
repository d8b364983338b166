//! Parameters of the structure runs API: path, query and headers. The fields are what the parser fills and what
//! `/openapi.json` describes.

use axum::http::HeaderMap;
use utoipa::IntoParams;

use super::response::StructureRunStatus;
use crate::domain::{Error, EventId, Limits, RunId, RunStatus, StructureId};
use crate::transport::rest::headers::one;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::path_variable::{self, Variable};
use crate::transport::rest::query::{Query, word};

/// Maximum runs or spans in one numbered page. Such a page cannot end early, and each element may be as large as a payload.
const MAX_PAGE_SIZE: u64 = 100;

/// Events in one page of a request without `limit`.
const DEFAULT_LIMIT: u64 = 100;

/// Path of the routes of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RunPath {
    /// The run.
    #[param(value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub structure_run_id: RunId,
}

impl RunPath {
    /// Checks the run id.
    pub fn parse(id: Variable) -> Result<Self, HttpError> {
        let structure_run_id = RunId::parse(&path_variable::text(id)?);
        Ok(Self { structure_run_id: structure_run_id.map_err(|error| renamed(error, "run_id", "structure_run_id"))? })
    }
}

/// Path of the routes of a structure.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct StructurePath {
    /// The structure.
    #[param(value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub structure_id: StructureId,
}

impl StructurePath {
    /// Checks the structure id.
    pub fn parse(id: Variable) -> Result<Self, HttpError> {
        Ok(Self { structure_id: StructureId::parse(&path_variable::text(id)?)? })
    }
}

/// Path of the route of an event.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct StoredEventPath {
    /// The event.
    #[param(value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub event_id: EventId,
}

impl StoredEventPath {
    /// Checks the event id.
    pub fn parse(id: Variable) -> Result<Self, HttpError> {
        Ok(Self { event_id: EventId::parse(&path_variable::text(id)?)? })
    }
}

/// Page of the events of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Number of events to skip; default 0.
    #[param(value_type = Option<i64>, minimum = 0)]
    pub offset: u64,
    /// Maximum number of events; default 100.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1000)]
    pub limit: u64,
}

impl EventsQuery {
    /// Takes `offset` and `limit`.
    pub fn take(query: &mut Query, limits: &Limits) -> Result<Self, HttpError> {
        let max = limits.max_page_size as u64;
        let offset = query.number("offset", 0, 0..=i64::MAX.unsigned_abs())?;
        Ok(Self { offset, limit: query.number("limit", DEFAULT_LIMIT.min(max), 1..=max)? })
    }
}

/// Numbered page of runs or spans.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Counts from 1; default 1.
    #[param(value_type = Option<i64>, minimum = 1)]
    pub page: u64,
    /// Default 100.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 100)]
    pub page_size: u64,
}

impl PageQuery {
    /// Takes `page` and `page_size`.
    pub fn take(query: &mut Query, limits: &Limits) -> Result<Self, HttpError> {
        let max = MAX_PAGE_SIZE.min(limits.max_page_size as u64);
        let page = query.number("page", 1, 1..=i64::MAX.unsigned_abs())?;
        Ok(Self { page, page_size: query.number("page_size", max, 1..=max)? })
    }
}

/// Filter of a list of runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StatusQuery {
    /// Only these statuses; repeatable. FAILED and ERROR find the same runs.
    #[param(value_type = Option<Vec<StructureRunStatus>>)]
    pub status: Vec<RunStatus>,
}

impl StatusQuery {
    /// Takes `status`; every status when absent.
    pub fn take(query: &mut Query) -> Result<Self, HttpError> {
        let mut status = Vec::new();
        for name in query.all("status") {
            let problem = "must be QUEUED, STARTING, RUNNING, SUCCEEDED, FAILED, ERROR or CANCELLED";
            let shown: StructureRunStatus = word(&name).ok_or_else(|| HttpError::field("status", problem))?;
            status.extend(shown.stored_as());
        }
        Ok(Self { status })
    }
}

/// Header of a create request.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// Makes a retry safe.
    #[param(rename = "Idempotency-Key", nullable = false, min_length = 1, max_length = 200, pattern = "^[!-~]+$")]
    pub idempotency_key: Option<String>,
}

impl IdempotencyHeader {
    /// Reads the header; the service checks the length.
    pub fn read(headers: &HeaderMap) -> Result<Self, HttpError> {
        let idempotency_key = one(headers, "Idempotency-Key")?;
        if idempotency_key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(HttpError::field("Idempotency-Key", "must be visible ASCII characters without space"));
        }
        Ok(Self { idempotency_key })
    }
}

/// The error with the field `ours` under the name of this API, `theirs`.
pub fn renamed(error: Error, ours: &str, theirs: &str) -> Error {
    match error {
        Error::InvalidField { field, problem } if field == ours => Error::invalid(theirs, problem),
        other => other,
    }
}
