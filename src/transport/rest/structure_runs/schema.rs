//! What requests and answers of this door hold, for `/openapi.json` and where an answer is written from it.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::env_var::StructureEnvVar;
use super::response::StructureRun;
use crate::transport::rest::time::TimeOfEvent;

/// A run to be created.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStructureRun {
    /// What it is given to work on.
    pub args: Option<Vec<String>>,
    /// Its environment.
    pub env_vars: Option<Vec<StructureEnvVar>>,
}

/// Runs of a structure.
#[derive(Debug, ToSchema)]
pub struct StructureRuns {
    /// Newest first.
    pub structure_runs: Vec<StructureRun>,
    /// Where the page stands.
    pub pagination: StructureRunsPagination,
}

/// Where a page of runs stands.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StructureRunsPagination {
    /// This page, from 1.
    pub page_number: u64,
    /// Most runs in a page.
    pub page_size: u64,
    /// How many runs match.
    pub total_count: u64,
    /// How many pages they fill.
    pub total_pages: u64,
    /// The page after this one; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_page: Option<u64>,
    /// The page before this one; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous_page: Option<u64>,
}

impl StructureRunsPagination {
    /// Of page `page_number`, when `total_count` runs match.
    #[must_use]
    pub fn new(page_number: u64, page_size: u64, total_count: u64) -> Self {
        let total_pages = total_count.div_ceil(page_size);
        let previous = (page_number - 1).min(total_pages);
        Self {
            page_number,
            page_size,
            total_count,
            total_pages,
            next_page: (page_number < total_pages).then(|| page_number + 1),
            previous_page: (previous > 0).then_some(previous),
        }
    }
}

/// An event to be stored.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStructureEvent {
    /// What happened; no control characters.
    #[schema(rename = "type", min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    pub r#type: String,
    /// When it happened, as a rule a number. Without it, and where the number is no time of the years 1 to 9999, the server's clock
    /// counts.
    pub timestamp: Option<TimeOfEvent>,
    /// Anything, kept as sent; absent or null is stored as `{}`.
    pub payload: Option<Value>,
}

/// One event, an array of events, or an array under `events`.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum PostedStructureEvents {
    /// One.
    One(NewStructureEvent),
    /// Several.
    Array(NewStructureEventArray),
    /// Several, under a name.
    Named(NewStructureEvents),
}

/// Several events to be stored, in their order, all or none.
#[derive(Debug, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub struct NewStructureEventArray(pub Vec<NewStructureEvent>);

/// Several events to be stored, in their order, all or none.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStructureEvents {
    /// The events.
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<NewStructureEvent>,
}

/// Who told.
#[derive(Debug, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StructureEventOrigin {
    /// The platform.
    System,
    /// The run's own code.
    User,
}

/// A stored event.
#[derive(Debug, ToSchema)]
pub struct StructureEvent {
    /// Its id.
    pub event_id: String,
    /// Seconds since 1970, the same double that was sent.
    pub timestamp: f64,
    /// What happened.
    #[schema(rename = "type")]
    pub r#type: String,
    /// As it was sent; never null.
    pub payload: Value,
    /// When it was recorded, RFC 3339 with microseconds and `Z`.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who told.
    pub origin: StructureEventOrigin,
    /// Its run.
    pub structure_run: String,
    /// Its run.
    pub structure_run_id: String,
}

/// Events of a run.
#[derive(Debug, ToSchema)]
pub struct StructureEvents {
    /// In order.
    pub events: Vec<StructureEvent>,
    /// How many these are.
    pub count: u64,
    /// How many the run has.
    pub total_count: u64,
    /// As asked for.
    pub limit: u64,
    /// As asked for.
    pub offset: u64,
    /// Where the next page begins, also at the end.
    pub next_offset: u64,
}

/// A span: what the published driver sends of it. Nothing of it has to be there, and what else is sent is kept.
#[derive(Debug, ToSchema)]
pub struct StructureSpan {
    /// The trace that it belongs to.
    #[schema(value_type = Option<Value>)]
    pub trace_id: Option<Value>,
    /// Its id; with it, a repeat of the same span is stored once.
    #[schema(value_type = Option<Value>)]
    pub span_id: Option<Value>,
    /// The span that it is a part of; null for none.
    #[schema(value_type = Option<Value>)]
    pub parent_id: Option<Value>,
    /// What was done.
    #[schema(value_type = Option<Value>)]
    pub name: Option<Value>,
    /// ISO 8601.
    #[schema(value_type = Option<Value>)]
    pub start_time: Option<Value>,
    /// ISO 8601; the time of the event that it is stored as.
    #[schema(value_type = Option<Value>)]
    pub end_time: Option<Value>,
    /// `OK`, `ERROR` or `UNSET`.
    #[schema(value_type = Option<Value>)]
    pub status: Option<Value>,
    /// Facts by name.
    #[schema(value_type = Option<Value>)]
    pub attributes: Option<Value>,
    /// What happened in it, each with `name`, `timestamp` and `attributes`.
    #[schema(value_type = Option<Value>)]
    pub events: Option<Value>,
}

/// One span, an array of spans, or an array under `spans`.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum PostedStructureSpans {
    /// One.
    One(Box<StructureSpan>),
    /// Several.
    Array(NewStructureSpanArray),
    /// Several, under a name.
    Named(NewStructureSpans),
}

/// Several spans to be stored, in their order, all or none.
#[derive(Debug, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub struct NewStructureSpanArray(pub Vec<StructureSpan>);

/// Several spans to be stored, in their order, all or none.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStructureSpans {
    /// The spans.
    #[schema(min_items = 1, max_items = 1000)]
    pub spans: Vec<StructureSpan>,
}

/// Spans of a run.
#[derive(Debug, ToSchema)]
pub struct StructureSpans {
    /// In the order in which they were stored, each as it was sent.
    pub spans: Vec<StructureSpan>,
    /// Which page it is, from 1.
    pub page: u64,
}

/// The logs of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureRunLogs {
    /// Oldest first.
    pub logs: Vec<String>,
}

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureRefusal {
    /// `validation_error`, `authentication_error`, `client_error` or `server_error`.
    #[schema(rename = "type")]
    pub r#type: String,
    /// What is wrong; at least one.
    #[schema(min_items = 1)]
    pub errors: Vec<StructureProblem>,
}

/// One thing that is wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureProblem {
    /// For a program; stable.
    #[schema(rename = "type")]
    pub r#type: String,
    /// For a person.
    pub message: String,
    /// The field at fault; absent when it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub path: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_pages_are_named_where_they_exist() {
        let neighbours = |page, total| {
            let pagination = StructureRunsPagination::new(page, 10, total);
            (pagination.previous_page, pagination.next_page)
        };
        assert_eq!(neighbours(1, 0), (None, None));
        assert_eq!(neighbours(1, 10), (None, None));
        assert_eq!(neighbours(1, 11), (None, Some(2)));
        assert_eq!(neighbours(2, 21), (Some(1), Some(3)));
        assert_eq!(neighbours(9, 21), (Some(3), None));
        assert_eq!(neighbours(9, 0), (None, None));
    }
}
