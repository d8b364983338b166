//! Times as producers write them: ISO 8601 in its usual forms, and Unix times as doubles.

mod iso8601;
mod unix_seconds;

use jiff::Timestamp;

pub use iso8601::parse;
pub use unix_seconds::{UnixSeconds, unix_seconds};

/// Seconds of 0001-01-01T00:00:00Z, where protobuf's timestamps begin. The last time that is held is [`Timestamp::MAX`], which
/// every time zone can write with a year of four digits.
pub const FIRST_SECOND: i64 = -62_135_596_800;

/// Why a text gives no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It is none.
    #[error("must be an ISO 8601 time such as 2026-04-02T10:00:00Z; without an offset it is UTC")]
    NoTime,
    /// It is one that is not held.
    #[error("must lie between 0001-01-01T00:00:00Z and 9999-12-30T22:00:00Z")]
    OutOfRange,
}

/// The time of these parts, where it is one that is held.
fn held(seconds: i64, nanos: i32) -> Result<Timestamp, TimeError> {
    if seconds < FIRST_SECOND {
        return Err(TimeError::OutOfRange);
    }
    Timestamp::new(seconds, nanos).map_err(|_| TimeError::OutOfRange)
}

#[cfg(test)]
mod tests;
