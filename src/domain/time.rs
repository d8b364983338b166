//! Times as producers write them: ISO 8601 in its usual forms, and Unix times as doubles.

use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What is expected, for refusals.
pub const EXPECTED: &str = "must be an ISO 8601 time such as 2026-04-02T10:00:00Z; without an offset it is UTC";

/// Seconds of 0001-01-01T00:00:00Z, where protobuf's timestamps begin.
pub const FIRST_SECOND: i64 = -62_135_596_800;

const NANOS: i64 = 1_000_000_000;

/// Reads a time: a calendar, week or ordinal date, whole or down to the month; then, after `T` or a space, a time of day, whole
/// or down to the hour, the last part with a fraction; then an offset, without which it is UTC. All of it in the extended or the
/// basic form. Digits after the nanosecond are cut, 24:00 is the next midnight, and a leap second is the second that follows.
///
/// None: it is no time, or lies outside of the years 1 to 9999.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    // The name of a zone behind an offset says nothing more (RFC 9557). Without one it would have to be looked up.
    let (text, has_zone) = match text.split_once('[') {
        Some((before, zone)) if zone.ends_with(']') => (before, true),
        Some(_) => return None,
        None => (text, false),
    };
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, Some(text.get(at + 1..)?)),
        None => (text, None),
    };
    let midnight = DateTime::from_parts(parse_date(date)?, Time::midnight());
    let midnight = midnight.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let since_midnight = match time {
        Some(time) => parse_time(time, has_zone)?,
        None if has_zone => return None,
        None => 0,
    };
    within_bounds(midnight.checked_add(SignedDuration::from_nanos(since_midnight)).ok()?)
}

fn within_bounds(at: Timestamp) -> Option<Timestamp> {
    Some(at).filter(|at| at.as_second() >= FIRST_SECOND)
}

fn parse_date(text: &str) -> Option<Date> {
    let year = i16::try_from(number(text.get(..4)?)?).ok()?;
    let rest = text.get(4..)?;
    let (rest, is_extended) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let january = || Date::new(year, 1, 1).ok();
    if let Some(week) = rest.strip_prefix(['W', 'w']) {
        let (week, day) = week.split_at_checked(2)?;
        let day = if is_extended && !day.is_empty() { day.strip_prefix('-')? } else { day };
        let day = if day.is_empty() { 1 } else { number(day).filter(|_| day.len() == 1)? };
        let weekday = Weekday::from_monday_one_offset(i8::try_from(day).ok()?).ok()?;
        return Some(ISOWeekDate::new(year, i8::try_from(number(week)?).ok()?, weekday).ok()?.date());
    }
    match (rest.len(), is_extended) {
        (0, false) => january(),
        (3, _) => {
            let day = i64::from(number(rest)?);
            let date = january()?.checked_add(SignedDuration::from_hours(24 * (day - 1))).ok()?;
            Some(date).filter(|date| day >= 1 && date.year() == year)
        }
        (2, true) => Date::new(year, i8::try_from(number(rest)?).ok()?, 1).ok(),
        (5, true) | (4, false) => {
            let (month, day) = rest.split_at_checked(2)?;
            let day = if is_extended { day.strip_prefix('-')? } else { day };
            Date::new(year, i8::try_from(number(month)?).ok()?, i8::try_from(number(day)?).ok()?).ok()
        }
        _ => None,
    }
}

/// Nanoseconds since midnight, UTC.
fn parse_time(text: &str, needs_offset: bool) -> Option<i64> {
    let text = text.trim();
    let (clock, offset) = match text.find(['Z', 'z', '+', '-', '\u{2212}']) {
        Some(at) => text.split_at_checked(at)?,
        None if needs_offset => return None,
        None => (text, ""),
    };
    let (clock, fraction) = match clock.trim_end().split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock.trim_end(), None),
    };
    let parts: Vec<u32> = if clock.contains(':') {
        clock.split(':').map(|part| number(part).filter(|_| part.len() == 2)).collect::<Option<_>>()?
    } else {
        let pairs = clock.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        pairs.map(|pair| pair.filter(|pair| pair.len() == 2).and_then(number)).collect::<Option<_>>()?
    };
    let part = |index: usize| i64::from(parts.get(index).copied().unwrap_or(0));
    let (hour, minute, second) = (part(0), part(1), part(2));
    let is_end_of_day =
        (hour, minute, second) == (24, 0, 0) && fraction.is_none_or(|digits| digits.bytes().all(|b| b == b'0'));
    if !(1..=3).contains(&parts.len()) || (hour > 23 && !is_end_of_day) || minute > 59 || second > 60 {
        return None;
    }
    let unit = [3_600, 60, 1][parts.len() - 1] * NANOS;
    let fraction = fraction.map_or(Some(0), |digits| fraction_of(digits, unit))?;
    Some((hour * 3_600 + minute * 60 + second) * NANOS + fraction - parse_offset(offset)?)
}

/// The part of a unit that these digits behind the point say.
fn fraction_of(digits: &str, unit: i64) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than these say nothing in nanoseconds, even of an hour.
    let digits = &digits[..digits.len().min(13)];
    let scale = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    i64::try_from(digits.parse::<i128>().ok()? * i128::from(unit) / scale).ok()
}

/// Nanoseconds east of UTC.
fn parse_offset(text: &str) -> Option<i64> {
    let sign = match text.chars().next() {
        None => return Some(0),
        Some('Z' | 'z') => return (text.len() == 1).then_some(0),
        Some('+') => 1,
        Some(_) => -1,
    };
    let digits = text.trim_start_matches(['+', '-', '\u{2212}']);
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        5 => digits.split_once(':')?,
        _ => return None,
    };
    let (hours, minutes) = (number(hours).filter(|_| hours.len() == 2)?, number(minutes)?);
    (hours <= 23 && minutes <= 59).then(|| sign * i64::from(hours * 60 + minutes) * 60 * NANOS)
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A Unix time as a producer sent it, as a double.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnixSeconds {
    /// The time, rounded to the nearest microsecond; none where no time that we can hold is so far away.
    pub at: Option<Timestamp>,
    /// The double, where the time does not give it back.
    pub sent: Option<f64>,
}

impl UnixSeconds {
    /// A finite number of seconds.
    #[must_use]
    pub fn new(seconds: f64) -> Self {
        let micros = (seconds * 1e6).round();
        // Of years that a timestamp can have, and of doubles that an i64 can.
        #[allow(clippy::cast_possible_truncation, reason = "the bounds are checked before")]
        let at = (micros.abs() < 1e18).then(|| Timestamp::from_microsecond(micros as i64).ok()).flatten();
        let at = at.and_then(within_bounds);
        let is_given_back = at.is_some_and(|at| unix_seconds(at).to_bits() == seconds.to_bits());
        Self { at, sent: (!is_given_back).then_some(seconds) }
    }
}

/// A time as seconds since 1970. Of whole microseconds it is the nearest double, so that a double comes back.
#[must_use]
pub fn unix_seconds(at: Timestamp) -> f64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "years 1 to 9999 in microseconds lose half a microsecond at the most"
    )]
    if at.subsec_nanosecond() % 1_000 == 0 {
        at.as_microsecond() as f64 / 1e6
    } else {
        at.as_second() as f64 + f64::from(at.subsec_nanosecond()) / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        parse(text).map_or_else(|| "none".to_owned(), |at| at.to_string())
    }

    #[test]
    fn every_usual_form_of_iso_8601_is_read_and_without_an_offset_it_is_utc() {
        for (text, at) in [
            ("2026-04-02T10:00:00.123456", "2026-04-02T10:00:00.123456Z"),
            ("2026-04-02T10:00:00Z", "2026-04-02T10:00:00Z"),
            ("2026-04-02t10:00:00z", "2026-04-02T10:00:00Z"),
            (" 2026-04-02 10:00:00 ", "2026-04-02T10:00:00Z"),
            ("2026-04-02 10:00:00 +02:00", "2026-04-02T08:00:00Z"),
            ("2026-04-02T10:00:00+02:00", "2026-04-02T08:00:00Z"),
            ("2026-04-02T10:00:00-0230", "2026-04-02T12:30:00Z"),
            ("2026-04-02T10:00:00\u{2212}02", "2026-04-02T12:00:00Z"),
            ("2026-04-02T10:00:00-00:00", "2026-04-02T10:00:00Z"),
            ("2026-04-02T10:00:00+02:00[Europe/Zurich]", "2026-04-02T08:00:00Z"),
            ("2026-04-02T10:00:00,5Z", "2026-04-02T10:00:00.5Z"),
            ("2026-04-02T10:00:00.123456789987654321Z", "2026-04-02T10:00:00.123456789Z"),
            ("2026-04-02T10:00", "2026-04-02T10:00:00Z"),
            ("2026-04-02T10", "2026-04-02T10:00:00Z"),
            ("2026-04-02T10:30.5", "2026-04-02T10:30:30Z"),
            ("2026-04-02T10.5", "2026-04-02T10:30:00Z"),
            ("20260402T100000Z", "2026-04-02T10:00:00Z"),
            ("20260402T1000+0200", "2026-04-02T08:00:00Z"),
            ("2026-04-02", "2026-04-02T00:00:00Z"),
            ("20260402", "2026-04-02T00:00:00Z"),
            ("2026-04", "2026-04-01T00:00:00Z"),
            ("2026", "2026-01-01T00:00:00Z"),
            ("2026-W14-4", "2026-04-02T00:00:00Z"),
            ("2026W144T10", "2026-04-02T10:00:00Z"),
            ("2026-W14", "2026-03-30T00:00:00Z"),
            ("2026-092", "2026-04-02T00:00:00Z"),
            ("2026092T10:00:00Z", "2026-04-02T10:00:00Z"),
            ("2024-366", "2024-12-31T00:00:00Z"),
            ("2026-04-02T24:00:00Z", "2026-04-03T00:00:00Z"),
            ("2026-04-02T24:00", "2026-04-03T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.25Z"),
        ] {
            assert_eq!(read(text), at, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            " ",
            "T",
            "yesterday",
            "now",
            "1726096542",
            "1726096542.083",
            "2026-4-2",
            "2026-13-01",
            "2026-02-30",
            "2026-366",
            "2026-000",
            "2026-W54-1",
            "2026-W14-8",
            "2026-W1",
            "2026-04-02T25:00",
            "2026-04-02T24:00:01",
            "2026-04-02T10:60",
            "2026-04-02T10:00:61",
            "2026-04-02T10:00:00.",
            "2026-04-02T10:00:00.x",
            "2026-04-02T1:00",
            "2026-04-02T10:00:00+2",
            "2026-04-02T10:00:00+24:00",
            "2026-04-02T10:00:00+02:60",
            "2026-04-02T10:00:00ZZ",
            "2026-04-02T",
            "2026-04-02TZ",
            "2026-04-02T10:00:00Z[Europe/Zurich",
            "2026-04-02T10:00:00[Europe/Zurich]",
            "0000-12-31",
            "9999-12-31T23:59:59Z",
            "-001-01-01",
            "2026-04-02T10:00:00é",
            "é026-04-02",
            "+2026-04-02",
            "2026--04-02",
            "02.04.2026",
            "04/02/2026",
        ] {
            assert_eq!(read(text), "none", "{text}");
        }
    }

    #[test]
    fn a_unix_time_is_the_nearest_microsecond_and_its_double_comes_back() {
        let at = |seconds: f64| UnixSeconds::new(seconds).at.map(|at| at.to_string());
        assert_eq!(at(1_726_096_542.083).as_deref(), Some("2024-09-11T23:15:42.083Z"));
        assert_eq!(at(1_726_096_542.716_88).as_deref(), Some("2024-09-11T23:15:42.71688Z"));
        assert_eq!(at(-0.5).as_deref(), Some("1969-12-31T23:59:59.5Z"));
        assert_eq!(UnixSeconds::new(1_726_096_542.083).sent, None, "the time gives it back");
        for beyond in [1e18, -1e18, 1.7e308, -62_135_596_801.0, 253_402_300_800.0] {
            assert_eq!(UnixSeconds::new(beyond), UnixSeconds { at: None, sent: Some(beyond) });
        }
        // Of a clock that counts from the start of a machine.
        assert_eq!(at(12_345.678_901_234).as_deref(), Some("1970-01-01T03:25:45.678901Z"));
    }

    proptest::proptest! {
        #[test]
        fn a_double_comes_back_bit_by_bit(seconds in -7e10_f64..2.6e11, near in 0_i64..4_000_000_000_000_000) {
            for seconds in [seconds, near as f64 / 1e6, f64::from_bits((near as f64 / 1e6).to_bits() + 1)] {
                let sent = UnixSeconds::new(seconds);
                let back = sent.sent.or(sent.at.map(unix_seconds)).unwrap();
                proptest::prop_assert_eq!(back.to_bits(), seconds.to_bits());
                let is_near = sent.at.is_none_or(|at| (unix_seconds(at) - seconds).abs() < 1e-4);
                proptest::prop_assert!(is_near);
            }
        }

        #[test]
        fn what_jiff_writes_is_read_as_the_same_time(nanos in -62_135_596_800_000_000_000_i128..253_402_207_200_000_000_000) {
            let at = Timestamp::from_nanosecond(nanos).unwrap();
            proptest::prop_assert_eq!(parse(&at.to_string()), Some(at));
        }

        #[test]
        fn no_text_at_all_is_more_than_a_time_can_bear(text in "[0-9TWZz:+.,\\[\\] -]{0,40}|.{0,20}") {
            let _ = parse(&text);
        }
    }
}
