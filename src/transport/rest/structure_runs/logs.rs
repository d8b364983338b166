//! Logs of a run: the last events, one line each.

use axum::http::Uri;
use axum::response::Response;

use super::error::{ApiError, Refusals};
use super::params::RunPath;
use super::response::{self, json};
use super::schema::StructureRunLogs;
use crate::codec::record;
use crate::domain::{Error, Event, EventFilter, Scope, View};
use crate::service::list::ListEvents;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::{Query, ViewQuery};
use crate::transport::rest::time;

/// Maximum number of lines; only the newest are shown.
const MAX_LINES: usize = 1_000;

/// Maximum number of a payload's characters in a line.
const MAX_PAYLOAD_CHARS: usize = 500;

/// Get the last 1,000 events of a run as lines: time, origin, type, and the beginning of the payload.
#[utoipa::path(get, path = "/api/structure-runs/{structure_run_id}/logs", tag = "structure runs",
    operation_id = "get_structure_run_logs",
    params(RunPath, ViewQuery),
    responses((status = 200, description = "The lines, oldest first", body = StructureRunLogs), Refusals))]
pub async fn get_logs(gateway: Gateway, id: Variable, uri: Uri) -> Result<Response, ApiError> {
    let scope = Scope::Run(RunPath::parse(id)?.structure_run_id);
    let mut query = Query::parse(uri.query());
    let ViewQuery { view } = ViewQuery::take(&mut query, &gateway)?;
    query.finish()?;
    let (mut logs, mut cursor) = (Vec::new(), String::new());
    // A page may end early at the byte limit, so there may be several pages. Only the lines are kept.
    loop {
        let page_size = (MAX_LINES - logs.len()).min(gateway.service.limits().max_page_size);
        let (scope, filter) = (scope.clone(), EventFilter::default());
        let list = ListEvents { scope, cursor, page_size, descending: true, filter, epoch: String::new() };
        let page = gateway.service.list_events(&list).await?;
        for stored in page.records {
            logs.push(line(&record::decode(stored.bytes)?, view.where_it_may_differ(stored.sensitive)));
        }
        if logs.len() >= MAX_LINES || !page.has_more {
            break;
        }
        cursor = page.next_cursor;
    }
    logs.reverse();
    Ok(json(serde_json::to_string(&StructureRunLogs { logs }).map_err(Error::internal)?))
}

fn line(event: &Event, view: View) -> String {
    let shown = view.show(event.event_type.as_str(), event.payload.as_str());
    let payload = compact(response::never_null(&shown.json), MAX_PAYLOAD_CHARS);
    let (at, origin) = (time::micros(event.recorded_at), response::origin(event.origin));
    format!("{at} {origin} {} {payload}", event.event_type)
}

/// First `max_chars` characters of a JSON text, without whitespace between tokens.
fn compact(json: &str, max_chars: usize) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let shown = json.chars().filter(|c| {
        let keep = in_string || !c.is_ascii_whitespace();
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        keep
    });
    shown.take(max_chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_payload_loses_the_space_between_tokens_only() {
        assert_eq!(compact("{ \"a \\\" b\" :\n [1, 2] }", 500), r#"{"a \" b":[1,2]}"#);
        assert_eq!(compact("\"éé é\"", 3), "\"éé");
    }
}
