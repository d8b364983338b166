//! Schemas of responses of the structure runs API for `/openapi.json`, and of spans, which are stored and returned as sent.
//! Types with `Serialize` also write the responses.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::response::StructureRun;
use crate::transport::rest::removal::EventRemoval;

/// A page of a structure's runs.
#[derive(Debug, ToSchema)]
pub struct StructureRuns {
    /// Runs of the page, newest first.
    pub structure_runs: Vec<StructureRun>,
    /// Position of the page in the list.
    pub pagination: StructureRunsPagination,
}

/// Position of a page in a list of runs.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct StructureRunsPagination {
    /// Number of this page, counted from 1.
    pub page_number: u64,
    /// Maximum runs in a page.
    pub page_size: u64,
    /// Number of matching runs.
    pub total_count: u64,
    /// Number of pages of matching runs.
    pub total_pages: u64,
    /// Number of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_page: Option<u64>,
    /// Number of the previous page; absent on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous_page: Option<u64>,
}

impl StructureRunsPagination {
    /// Position of page `page_number` in a list of `total_count` runs.
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

/// Source of an event.
#[derive(Debug, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StructureEventOrigin {
    /// The platform that runs the structure.
    System,
    /// The run's own code.
    User,
}

/// A stored event.
#[derive(Debug, ToSchema)]
pub struct StructureEvent {
    /// Id of the event.
    pub event_id: String,
    /// Seconds since 1970, the same double that was sent.
    pub timestamp: f64,
    /// Type of the event.
    #[schema(rename = "type")]
    pub r#type: String,
    /// Payload as sent, or the public view of the payload; never null.
    pub payload: Value,
    /// Time of storage by the server's clock, RFC 3339 with microseconds and `Z`.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Source of the event.
    pub origin: StructureEventOrigin,
    /// Id of the run.
    pub structure_run: String,
    /// Id of the run, the same as `structure_run`.
    pub structure_run_id: String,
    /// Why the payload is gone; absent if it is there.
    #[schema(nullable = false)]
    pub removal: Option<EventRemoval>,
    /// Seq of the first event whose text the payload holds, too, after a compaction of deltas; absent: no other text.
    #[schema(nullable = false, minimum = 1)]
    pub joined_from: Option<u64>,
}

/// A page of a run's events.
#[derive(Debug, ToSchema)]
pub struct StructureEvents {
    /// Events of the page, oldest first.
    pub events: Vec<StructureEvent>,
    /// Number of events in the page.
    pub count: u64,
    /// Number of events that the run has had, which is the seq of the last one.
    pub total_count: u64,
    /// The requested `limit`, or the default.
    pub limit: u64,
    /// The requested `offset`, or the default.
    pub offset: u64,
    /// Value of `offset` for the next page, also set at the end.
    pub next_offset: u64,
}

/// A span, as the published observability driver sends spans. No member is required, and unknown members are kept.
#[derive(Debug, ToSchema)]
pub struct StructureSpan {
    /// Id of the span's trace.
    #[schema(value_type = Option<Value>)]
    pub trace_id: Option<Value>,
    /// Id of the span; a repeat of a span with an id is stored once.
    #[schema(value_type = Option<Value>)]
    pub span_id: Option<Value>,
    /// Id of the parent span; null for a root span.
    #[schema(value_type = Option<Value>)]
    pub parent_id: Option<Value>,
    /// Name of the operation.
    #[schema(value_type = Option<Value>)]
    pub name: Option<Value>,
    /// Start of the span, ISO 8601.
    #[schema(value_type = Option<Value>)]
    pub start_time: Option<Value>,
    /// End of the span, ISO 8601; also the time of the stored event.
    #[schema(value_type = Option<Value>)]
    pub end_time: Option<Value>,
    /// Status: `OK`, `ERROR` or `UNSET`.
    #[schema(value_type = Option<Value>)]
    pub status: Option<Value>,
    /// Attributes of the span by name.
    #[schema(value_type = Option<Value>)]
    pub attributes: Option<Value>,
    /// Events during the span, each with `name`, `timestamp` and `attributes`.
    #[schema(value_type = Option<Value>)]
    pub events: Option<Value>,
}

/// Spans to store, in order, all or none.
#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StructureSpanBatch {
    /// Spans of the request, in order.
    #[schema(min_items = 1, max_items = 1000)]
    pub spans: Vec<StructureSpan>,
}

/// A page of a run's spans.
#[derive(Debug, ToSchema)]
pub struct StructureSpans {
    /// Spans of the page in the order of storage, each as sent or in the public view.
    pub spans: Vec<StructureSpan>,
    /// Number of the page, counted from 1.
    pub page: u64,
}

/// Logs of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureRunLogs {
    /// Lines of the logs, oldest first.
    pub logs: Vec<String>,
}

/// Error response of every route.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureRefusal {
    /// Class of the error: `validation_error`, `authentication_error`, `client_error` or `server_error`.
    #[schema(rename = "type")]
    pub r#type: String,
    /// Errors in the request; at least one.
    #[schema(min_items = 1)]
    pub errors: Vec<StructureProblem>,
}

/// An error in a request.
#[derive(Debug, Serialize, ToSchema)]
pub struct StructureProblem {
    /// Reason of the error in snake_case; stable.
    #[schema(rename = "type")]
    pub r#type: String,
    /// Text for a person: the field at fault and the correction.
    pub message: String,
    /// Path of the field at fault; absent for an error without a field.
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
