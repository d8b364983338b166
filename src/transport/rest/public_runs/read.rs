//! Query parameters of the routes that read.

use axum::http::Uri;

use crate::domain::{Error, EventFilter, RunStatus};
use crate::service::control::status_name;
use crate::transport::rest::HttpError;
use crate::transport::rest::query::Query;

/// Events or runs in one page of a request without `limit`.
const DEFAULT_PAGE_SIZE: usize = 50;

/// Refuses every parameter, for routes without parameters.
pub fn no_parameters(uri: &Uri) -> Result<(), HttpError> {
    Query::parse(uri.query()).finish()
}

/// Takes `limit`, from 1 to `max`; 50 when absent.
pub fn limit(query: &mut Query, max: usize) -> Result<usize, HttpError> {
    let limit = query.number("limit", DEFAULT_PAGE_SIZE.min(max) as u64, 1..=max as u64)?;
    Ok(usize::try_from(limit).unwrap_or(max))
}

/// Takes `types`, given once and separated by commas, or repeated with one type each. `run.*` matches every type with
/// the prefix `run.`.
pub fn types(query: &mut Query) -> Result<EventFilter, HttpError> {
    EventFilter::parse(&query.several("types"), Vec::new()).map_err(|error| match error {
        Error::InvalidField { field, problem } => {
            HttpError::field(field.strip_prefix("filter.").unwrap_or(&field), problem)
        }
        other => other.into(),
    })
}

/// Takes `order`: true for newest first.
pub fn is_descending(query: &mut Query) -> Result<bool, HttpError> {
    match query.one("order")?.as_deref() {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(_) => Err(HttpError::field("order", "must be asc or desc")),
    }
}

/// Takes `cursor`, or `after_seq` under the same meaning; 422 for both.
pub fn cursor(query: &mut Query) -> Result<String, HttpError> {
    match (query.one("cursor")?, query.one("after_seq")?) {
        (Some(_), Some(_)) => Err(HttpError::field("after_seq", "is the same as cursor; give one of them")),
        (cursor, after_seq) => Ok(cursor.or(after_seq).unwrap_or_default()),
    }
}

/// Takes `status`, repeatable, by the names that runs show.
pub fn statuses(query: &mut Query) -> Result<Vec<RunStatus>, HttpError> {
    let mut statuses = Vec::new();
    for word in query.all("status") {
        let shown_so = RunStatus::ALL.into_iter().filter(|status| status_name(*status) == word);
        let before = statuses.len();
        statuses.extend(shown_so);
        if statuses.len() == before {
            let known: Vec<_> = RunStatus::ALL[1..].iter().map(|status| status_name(*status)).collect();
            return Err(HttpError::field("status", format!("must be one of {}", known.join(", "))));
        }
    }
    Ok(statuses)
}
