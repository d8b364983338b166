//! Request headers that may be given once.

use axum::http::HeaderMap;

use super::http_error::HttpError;

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
