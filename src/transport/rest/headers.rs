//! Request headers that may be given once.

use axum::http::HeaderMap;

use crate::domain::Cursor;

use super::http_error::HttpError;
use super::query::Query;

/// Header with the id of the last event received, which a browser's `EventSource` sends on reconnect, as spelled in
/// error messages.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";

/// Value of a header that may be given once; `None` when absent.
pub fn one(headers: &HeaderMap, name: &'static str) -> Result<Option<String>, HttpError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(HttpError::field(name, "must be visible ASCII characters")),
        },
        (Some(_), Some(_)) => Err(HttpError::field(name, "must be given once")),
    }
}

/// Start of a stream: after `lastEventId`, for clients that cannot set a header; else after `cursor`; else after the
/// header `Last-Event-ID`; else at the first event. An invalid header is refused even if a parameter takes precedence.
pub fn stream_cursor(query: &mut Query, headers: &HeaderMap) -> Result<String, HttpError> {
    let from_header = last_event_id(headers)?;
    let (cursor, last_seen) = (query.one("cursor")?, query.one("lastEventId")?);
    Ok(last_seen.or(cursor).or(from_header).unwrap_or_default())
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let Some(text) = one(headers, LAST_EVENT_ID)? else { return Ok(None) };
    match Cursor::parse_in_run(&text) {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(HttpError::field(LAST_EVENT_ID, "must be the `id:` of an event of this stream")),
    }
}
