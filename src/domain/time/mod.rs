//! Times as sent by producers: ISO 8601 in its usual forms, and Unix times as doubles.

mod iso8601;
mod unix_seconds;

use jiff::Timestamp;

pub use iso8601::parse;
pub use unix_seconds::{UnixSeconds, unix_seconds};

/// Unix time of 0001-01-01T00:00:00Z, the minimum of protobuf's `Timestamp`. The maximum here is [`Timestamp::MAX`], which
/// has a year of four digits in every time zone.
pub const FIRST_SECOND: i64 = -62_135_596_800;

/// Rejection of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The text is not an ISO 8601 time.
    #[error("must be an ISO 8601 time such as 2026-04-02T10:00:00Z; without an offset it is UTC")]
    NoTime,
    /// The time is outside the supported range.
    #[error("must lie between 0001-01-01T00:00:00Z and 9999-12-30T22:00:00Z")]
    OutOfRange,
}

/// The time of these parts, checked against the supported range.
fn held(seconds: i64, nanos: i32) -> Result<Timestamp, TimeError> {
    if seconds < FIRST_SECOND {
        return Err(TimeError::OutOfRange);
    }
    Timestamp::new(seconds, nanos).map_err(|_| TimeError::OutOfRange)
}

#[cfg(test)]
mod tests;
