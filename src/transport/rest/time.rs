//! Times in requests and in responses.

use jiff::Timestamp;

use super::fields::Fields;
use super::http_error::HttpError;
use crate::domain::time::{self, TimeError, UnixSeconds};

pub use crate::domain::time::unix_seconds;

/// Time of an event of a request, as text or as a number; both parts are `None` if the request has no time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SentTime {
    /// Time by the producer's clock; `None`: the server's clock.
    pub at: Option<Timestamp>,
    /// The sent number, if the time does not reproduce the number.
    pub seconds: Option<f64>,
}

/// RFC 3339 with microseconds and `Z`: `2024-09-11T23:15:42.834783Z`.
#[must_use]
pub fn micros(at: Timestamp) -> String {
    format!("{at:.6}")
}

/// RFC 3339 with milliseconds and `Z`: `2026-03-25T14:30:00.000Z`.
#[must_use]
pub fn millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Takes a time: ISO 8601 text, or a number of seconds since 1970; nothing when the member is absent or null.
pub fn take(fields: &mut Fields<'_>, name: &str) -> Result<SentTime, HttpError> {
    let path = fields.path_of(name);
    if fields.is_string(name) {
        let text = fields.required_string(name)?;
        let at = time::parse(&text).map_err(|error| HttpError::field(path, error.to_string()))?;
        return Ok(SentTime { at: Some(at), seconds: None });
    }
    match fields.number(name) {
        Ok(None) => Ok(SentTime::default()),
        Ok(Some(seconds)) if seconds.is_finite() => {
            let UnixSeconds { at, sent } = UnixSeconds::new(seconds);
            Ok(SentTime { at, seconds: sent })
        }
        _ => Err(HttpError::field(path, format!("{}; or a number of seconds since 1970", TimeError::NoTime))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_documents_write_them() {
        let at: Timestamp = "2024-09-11T23:15:42.834783Z".parse().unwrap();
        assert_eq!(micros(at), "2024-09-11T23:15:42.834783Z");
        assert_eq!(millis(at), "2024-09-11T23:15:42.834Z");
        assert_eq!(millis("2026-03-25T14:30:00Z".parse().unwrap()), "2026-03-25T14:30:00.000Z");
    }

    #[test]
    fn text_and_numbers_are_times_and_nothing_else_is() {
        let taken = |json: &str| take(&mut Fields::parse(json, "").unwrap(), "t");
        let text = |text: &str| SentTime { at: text.parse().ok(), seconds: None };
        assert_eq!(taken(r#"{"t":"2026-04-02T10:00:00.5"}"#).unwrap(), text("2026-04-02T10:00:00.5Z"));
        assert_eq!(taken(r#"{"t":1726096542.083}"#).unwrap(), text("2024-09-11T23:15:42.083Z"));
        assert_eq!(taken(r#"{"t":1e18}"#).unwrap(), SentTime { at: None, seconds: Some(1e18) });
        for none in ["{}", r#"{"t":null}"#] {
            assert_eq!(taken(none).unwrap(), SentTime::default());
        }
        for bad in [r#"{"t":"soon"}"#, r#"{"t":true}"#, r#"{"t":[1]}"#, r#"{"t":1e999}"#, r#"{"t":""}"#] {
            assert_eq!(taken(bad).unwrap_err().field.as_deref(), Some("t"), "{bad}");
        }
    }
}
