//! Times as the three documents write them.

use jiff::Timestamp;

use super::Problem;

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

/// Seconds since 1970 as the double that came in: a double has fewer digits than our nanoseconds, so it comes back.
#[must_use]
pub fn float_seconds(at: Timestamp) -> f64 {
    at.as_second() as f64 + f64::from(at.subsec_nanosecond()) / 1e9
}

/// The other way; refused where no timestamp is that far.
pub fn from_float_seconds(field: &str, seconds: f64) -> Result<Timestamp, Problem> {
    let problem = || Problem::field(field, "must be seconds since 1970, between the years 1 and 9999");
    if !seconds.is_finite() || seconds < -62_135_596_800.0 {
        return Err(problem());
    }
    let whole = seconds.floor();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "nanoseconds of a second fit, and the seconds are bounded below"
    )]
    let (whole, nanos) = (whole as i64, ((seconds - whole) * 1e9).round() as i32);
    Timestamp::new(whole, nanos.min(999_999_999)).map_err(|_| problem())
}

/// RFC 3339, with any offset.
pub fn from_text(field: &str, text: &str) -> Result<Timestamp, Problem> {
    let at: Timestamp =
        text.parse().map_err(|_| Problem::field(field, "must be an RFC 3339 time such as 2026-04-02T10:00:00Z"))?;
    if at.as_second() < -62_135_596_800 {
        return Err(Problem::field(field, "must not lie before the year 1"));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_of_seconds_comes_back() {
        for seconds in [1_726_096_542.716_88, 0.1, 0.0, -0.5, -1.25, 1_700_000_000.0, 253_402_207_199.5] {
            let at = from_float_seconds("timestamp", seconds).unwrap();
            assert!((float_seconds(at) - seconds).abs() < f64::EPSILON * seconds.abs().max(1.0), "{seconds}");
        }
        assert_eq!(float_seconds(from_float_seconds("t", 1_726_096_542.716_88).unwrap()), 1_726_096_542.716_88);
        for bad in [f64::NAN, f64::INFINITY, 1e18, -1e18] {
            assert!(from_float_seconds("timestamp", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_written_as_the_documents_write_them() {
        let at: Timestamp = "2024-09-11T23:15:42.834783Z".parse().unwrap();
        assert_eq!(micros(at), "2024-09-11T23:15:42.834783Z");
        assert_eq!(millis(at), "2024-09-11T23:15:42.834Z");
        assert_eq!(millis("2026-03-25T14:30:00Z".parse().unwrap()), "2026-03-25T14:30:00.000Z");
    }
}
