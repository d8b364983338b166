//! Unix times as doubles. In this century a double is exact to microseconds and not to nanoseconds.

use jiff::Timestamp;

use super::held;

/// Integers below this limit are exact as doubles.
const EXACT_INTEGERS: i64 = 1 << 53;

/// A Unix time that a producer sent as a double.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnixSeconds {
    /// The time rounded to the nearest microsecond, which undoes the rounding of a microsecond clock to a double. `None`:
    /// outside the supported range.
    pub at: Option<Timestamp>,
    /// The double, if `at` does not convert back to the same double.
    pub sent: Option<f64>,
}

impl UnixSeconds {
    /// Converts a finite number of seconds.
    #[must_use]
    pub fn new(seconds: f64) -> Self {
        let whole = seconds.floor();
        // The difference is exact; a product with the whole number would be rounded.
        let micros = ((seconds - whole) * 1e6).round_ties_even();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "what is outside of an i64 becomes its end, which is no time"
        )]
        let (whole, micros) = (whole as i64, micros as i32);
        let (whole, micros) = if micros == 1_000_000 { (whole.saturating_add(1), 0) } else { (whole, micros) };
        let at = held(whole, micros * 1_000).ok();
        let is_given_back = at.is_some_and(|at| unix_seconds(at).to_bits() == seconds.to_bits());
        Self { at, sent: (!is_given_back).then_some(seconds) }
    }
}

/// The nearest double to a time, in seconds since 1970.
#[must_use]
pub fn unix_seconds(at: Timestamp) -> f64 {
    let micros = at.as_microsecond();
    if at.subsec_nanosecond() % 1_000 == 0 && micros.abs() < EXACT_INTEGERS {
        return micros as f64 / 1e6;
    }
    // A division of nanoseconds would round twice.
    let nanos = at.as_nanosecond();
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let text = format!("{sign}{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.parse().unwrap_or_default()
}
