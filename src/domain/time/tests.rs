use jiff::Timestamp;
use jiff::civil::{DateTime, ISOWeekDate};
use jiff::tz::{Offset, TimeZone};
use proptest::prelude::*;

use super::*;

fn reads(text: &str, expected: &str) {
    assert_eq!(parse(text).map(|at| at.to_string()), Ok(expected.to_owned()), "{text}");
}

#[test]
fn a_time_is_read_in_every_usual_form_of_iso_8601() {
    for text in [
        "2026-04-02T10:00:00Z",
        "2026-04-02T10:00:00",
        "2026-04-02 10:00:00",
        "2026-04-02t10:00:00z",
        "20260402T100000Z",
        "20260402T100000",
        "20260402T10",
        "2026-04-02T10",
        "2026-04-02T10:00",
        "2026-W14-4T10:00:00",
        "2026W144T100000Z",
        "2026-092T10:00",
        "2026092T1000Z",
        "+002026-04-02T10:00Z",
        "2026-04-02T12:00:00+02:00",
        "2026-04-02T12:00:00+0200",
        "2026-04-02T12:00:00+02",
        "2026-04-02T12:00:00+02:00[Europe/Zurich]",
        "2026-04-02T10:00Z[UTC][u-ca=iso8601]",
        "2026-04-02 12:00:00 +0200",
        "2026-04-02T08:30:00-01:30",
        "2026-04-02T08:30:00\u{2212}01:30",
        "2026-04-02T10:00:00-00:00",
        "2026-04-02T10:34:08+00:34:08",
        "2026-04-01T24:00:00-10:00",
        " 2026-04-02T10:00:00Z\n",
    ] {
        reads(text, "2026-04-02T10:00:00Z");
    }
}

#[test]
fn what_is_left_out_of_a_time_is_its_beginning() {
    for (text, expected) in [
        ("2026-04-02", "2026-04-02T00:00:00Z"),
        ("20260402", "2026-04-02T00:00:00Z"),
        ("2026-092", "2026-04-02T00:00:00Z"),
        ("2026092", "2026-04-02T00:00:00Z"),
        ("2024-366", "2024-12-31T00:00:00Z"),
        ("2026-W14-4", "2026-04-02T00:00:00Z"),
        ("2026W144", "2026-04-02T00:00:00Z"),
        ("2026-W14", "2026-03-30T00:00:00Z"),
        ("2020-W53-7", "2021-01-03T00:00:00Z"),
        ("2026-04", "2026-04-01T00:00:00Z"),
        ("2026", "2026-01-01T00:00:00Z"),
    ] {
        reads(text, expected);
    }
}

#[test]
fn fractions_midnight_and_leap_seconds_are_read_as_the_standard_has_them() {
    for (text, expected) in [
        ("2026-04-02T10:00:00.123456", "2026-04-02T10:00:00.123456Z"),
        ("2026-04-02T10:00:00,5Z", "2026-04-02T10:00:00.5Z"),
        ("2026-04-02T10:00:00.1234567899999999999999999999Z", "2026-04-02T10:00:00.123456789Z"),
        ("2026-04-02T10:30.25Z", "2026-04-02T10:30:15Z"),
        ("2026-04-02T10.5Z", "2026-04-02T10:30:00Z"),
        ("20260402T103000,25+01", "2026-04-02T09:30:00.25Z"),
        ("2026-12-31T24:00:00", "2027-01-01T00:00:00Z"),
        ("2026-04-02T24:00:00.000Z", "2026-04-03T00:00:00Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5Z"),
        ("2016-12-31T15:59:60-08:00", "2017-01-01T00:00:00Z"),
        ("1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.25Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-30T21:59:59.999999999Z", "9999-12-30T21:59:59.999999999Z"),
        ("9999-12-31T01:00:00+05:00", "9999-12-30T20:00:00Z"),
    ] {
        reads(text, expected);
    }
}

#[test]
fn only_what_is_no_time_is_refused() {
    for text in [
        "",
        " ",
        "today",
        "T10:00",
        "10:00:00",
        "1726096542.083",
        "202604",
        "2026-4-2",
        "2026-04-02T",
        "2026-04-02T1",
        "2026-04-02X10:00",
        "2026-04-02T10:00:00ZZ",
        "2026-04-02T10:00:00+",
        "2026-04-02T10:00:00+24:00",
        "2026-04-02T10:00:00+02:60",
        "2026-04-02T24:00:01",
        "2026-04-02T24:00:00.1",
        "2026-04-02T25:00",
        "2026-04-02T10:60",
        "2026-04-02T10:00:61",
        "2026-02-29",
        "2026-13-01",
        "2026-04-31",
        "2026-000",
        "2026-366",
        "2026-W54-1",
        "2025-W53-1",
        "2026-W14-8",
        "2026-W14-0",
        "2026-04-02T10:00:00[Europe/Zurich]",
        "2026-04-02T10:00:00Z[",
        "2026-04-02T10:00:00.",
        "2026-04-02T10:00:00.x",
        "2026-04-02T10:00:00+-02:00",
        "+2026-04-02",
        "2026-W1",
        "02.04.2026",
        "２０２６-04-02",
        "2026-04-0é",
        "20é6-04-02",
        "2026-04-02T1é:00",
        "+26-04-02",
        "Thu, 02 Apr 2026 10:00:00 GMT",
    ] {
        assert_eq!(parse(text), Err(TimeError::NoTime), "{text}");
    }
}

#[test]
fn a_time_that_is_not_held_is_called_so() {
    for text in [
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01",
        "-000044-03-15",
        "+010000-01-01T00:00:00Z",
        "+999999-01-01",
        "9999-12-31T00:00:00Z",
        "9999-12-31",
        "9999-12-31T24:00:00-23:59",
    ] {
        assert_eq!(parse(text), Err(TimeError::OutOfRange), "{text}");
    }
}

#[test]
fn a_unix_time_is_the_nearest_microsecond_and_its_double_comes_back() {
    for (seconds, expected) in [
        (1_726_096_542.083, "2024-09-11T23:15:42.083Z"),
        (1_726_096_542.716_88, "2024-09-11T23:15:42.71688Z"),
        (1_726_096_542.0, "2024-09-11T23:15:42Z"),
        (0.1, "1970-01-01T00:00:00.1Z"),
        (-0.5, "1969-12-31T23:59:59.5Z"),
        (-1.999_999_9, "1969-12-31T23:59:58Z"),
        (253_402_207_199.5, "9999-12-30T21:59:59.5Z"),
        (186_033_328_389.755_28, "7865-02-28T12:33:09.755280Z"),
        (123_456.000_000_4, "1970-01-02T10:17:36Z"),
        // A monotonic clock, which counts from the boot of the machine.
        (12_345.678_901_234, "1970-01-01T03:25:45.678901Z"),
    ] {
        let UnixSeconds { at, sent } = UnixSeconds::new(seconds);
        assert_eq!(at, Some(expected.parse().unwrap()), "{seconds}");
        assert_eq!(sent.or(at.map(unix_seconds)).map(f64::to_bits), Some(seconds.to_bits()));
    }
    assert_eq!(UnixSeconds::new(1_726_096_542.083).sent, None, "the time gives it back");
    assert_eq!(UnixSeconds::new(123_456.000_000_4).sent, Some(123_456.000_000_4));
    for beyond in [1e18, -1e18, 1e300, -62_135_596_801.0, 253_402_300_800.0, f64::MAX] {
        assert_eq!(UnixSeconds::new(beyond), UnixSeconds { at: None, sent: Some(beyond) });
    }
}

#[test]
fn a_time_gives_the_nearest_double() {
    for text in ["1726096542.716880083", "0.000000001", "253402207199.999999999", "1726096542.000001"] {
        let (seconds, nanos) = text.split_once('.').unwrap();
        let at = Timestamp::new(seconds.parse().unwrap(), format!("{nanos:0<9}").parse().unwrap()).unwrap();
        assert_eq!(unix_seconds(at), text.parse::<f64>().unwrap());
        if let Ok(before) = Timestamp::from_nanosecond(-at.as_nanosecond()) {
            assert_eq!(unix_seconds(before), -text.parse::<f64>().unwrap());
        }
    }
}

fn times() -> impl Strategy<Value = Timestamp> {
    (FIRST_SECOND..253_402_207_200, 0..1_000_000_000).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_jiff_writes_is_read_as_jiff_reads_it(at in times(), minutes in -1_439..1_440_i32) {
        prop_assert_eq!(parse(&at.to_string()), Ok(at));
        let offset = Offset::from_seconds(minutes * 60).unwrap();
        let text = at.display_with_offset(offset).to_string();
        if let Ok(read) = text.parse::<Timestamp>() {
            prop_assert_eq!(parse(&text), Ok(read), "{}", text);
        }
        let local: DateTime = TimeZone::UTC.to_datetime(at);
        prop_assert_eq!(parse(&local.to_string()), Ok(at));
        prop_assert_eq!(parse(&local.strftime("%Y%m%dT%H%M%S%.f").to_string()), Ok(at));
        prop_assert_eq!(parse(&local.strftime("%Y-%jT%H:%M:%S%.f").to_string()), Ok(at));
        let week = ISOWeekDate::from(local.date());
        if (1..=9_998).contains(&week.year()) {
            let text = format!("{week}{}", local.strftime("T%H:%M:%S%.f"));
            prop_assert_eq!(parse(&text), Ok(at), "{}", text);
        }
    }

    #[test]
    fn no_text_panics(text in "[-+−.,:TtZzWw0-9 \\[\\]é]{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn every_clock_of_microseconds_comes_back_from_its_double(micros in 0..4_102_444_800_000_000_i64) {
        let at = Timestamp::from_microsecond(micros).unwrap();
        prop_assert_eq!(UnixSeconds::new(unix_seconds(at)), UnixSeconds { at: Some(at), sent: None });
    }

    #[test]
    fn every_finite_double_comes_back(bits in any::<u64>()) {
        let sent = f64::from_bits(bits);
        if sent.is_finite() {
            let time = UnixSeconds::new(sent);
            let back = time.sent.or(time.at.map(unix_seconds));
            prop_assert_eq!(back.map(f64::to_bits), Some(bits));
        }
    }
}
