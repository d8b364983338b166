//! Times as they are typed, and as messages hold them.

use jiff::Timestamp;

use crate::domain::time;

/// ISO 8601, to the nanosecond.
pub fn parse_time(text: &str) -> Result<prost_types::Timestamp, String> {
    Ok(wire(time::parse(text).map_err(|error| format!("{error}; it is {text:?}"))?))
}

/// The time as a message holds it.
pub fn wire(at: Timestamp) -> prost_types::Timestamp {
    // Before 1970 both parts of a jiff timestamp are negative; protobuf requires nanos from 0 to 999,999,999.
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    let forward = if nanos < 0 { (seconds - 1, nanos + 1_000_000_000) } else { (seconds, nanos) };
    prost_types::Timestamp { seconds: forward.0, nanos: forward.1 }
}
