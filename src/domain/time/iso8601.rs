//! Parser of ISO 8601 in the forms that programs write, including RFC 3339 and RFC 9557.

use jiff::civil::{Date, ISOWeekDate, Weekday, date};
use jiff::{SignedDuration, Timestamp};

use super::TimeError::{self, NoTime, OutOfRange};
use super::held;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// Parses a time. A time without an offset is UTC; a date alone is midnight; a month, a week or a year alone is its first
/// moment.
///
/// Basic and extended forms; calendar, week and ordinal dates; `T`, `t` or a space before the time of day; a fraction of the
/// last part after a point or a comma, cut to nanoseconds. `24:00:00` is the next midnight; second 60, a leap second, is the
/// second after 59. A zone name in brackets is skipped after an offset.
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    let mut text = Cursor(text.trim_ascii());
    let date = read_date(&mut text)?;
    let days = date.duration_since(self::date(1970, 1, 1)).as_secs();
    if text.0.is_empty() {
        return held(days, 0);
    }
    if !(text.take("T") || text.take("t") || text.take(" ")) {
        return Err(NoTime);
    }
    let time_of_day = read_time_of_day(&mut text)?;
    let offset = read_offset(&mut text)?;
    if offset.is_some() && text.0.starts_with('[') && text.0.ends_with(']') {
        text.0 = "";
    }
    if !text.0.is_empty() {
        return Err(NoTime);
    }
    held(days + time_of_day.as_secs() - offset.unwrap_or_default(), time_of_day.subsec_nanos())
}

fn read_date(text: &mut Cursor<'_>) -> Result<Date, TimeError> {
    let year = read_year(text)?;
    let extended = text.take("-");
    if text.take("W") || text.take("w") {
        return read_week_date(text, year, extended);
    }
    let digits = text.digits();
    let valid = |month: i64, day: i64| Date::new(year, small(month)?, small(day)?).map_err(|_| NoTime);
    match (digits.len(), extended) {
        (0, false) => valid(1, 1),
        (3, _) => {
            let first = valid(1, 1)?;
            let day = i16::try_from(number(digits)?).map_err(|_| NoTime)?;
            first.with().day_of_year(day).build().map_err(|_| NoTime)
        }
        (2, true) if text.take("-") => valid(number(digits)?, text.number(2)?),
        (2, true) => valid(number(digits)?, 1),
        (4, false) => valid(number(&digits[..2])?, number(&digits[2..])?),
        _ => Err(NoTime),
    }
}

/// Four digits, or a sign and six digits as in ECMAScript.
fn read_year(text: &mut Cursor<'_>) -> Result<i16, TimeError> {
    let is_negative = text.take_minus();
    let digits = if is_negative || text.take("+") { text.first(6)? } else { text.first(4)? };
    let year = number(digits)?;
    if is_negative || !(1..=9_999).contains(&year) {
        return Err(OutOfRange);
    }
    i16::try_from(year).map_err(|_| OutOfRange)
}

fn read_week_date(text: &mut Cursor<'_>, year: i16, extended: bool) -> Result<Date, TimeError> {
    let week = text.number(2)?;
    let has_day = if extended { text.take("-") } else { text.0.starts_with(|c: char| c.is_ascii_digit()) };
    let day = if has_day { text.number(1)? } else { 1 };
    let weekday = Weekday::from_monday_one_offset(small(day)?).map_err(|_| NoTime)?;
    Ok(ISOWeekDate::new(year, small(week)?, weekday).map_err(|_| NoTime)?.date())
}

/// Duration since midnight.
fn read_time_of_day(text: &mut Cursor<'_>) -> Result<SignedDuration, TimeError> {
    let hour = text.number(2)?;
    let (mut minute, mut second, mut last) = (None, None, HOUR);
    let extended = text.take(":");
    if extended || text.0.starts_with(|c: char| c.is_ascii_digit()) {
        (minute, last) = (Some(text.number(2)?), MINUTE);
        if text.take(":") || (!extended && text.0.starts_with(|c: char| c.is_ascii_digit())) {
            (second, last) = (Some(text.number(2)?), 1);
        }
    }
    let fraction = read_fraction(text, last)?;
    let (minute, second) = (minute.unwrap_or(0), second.unwrap_or(0));
    let whole = SignedDuration::from_secs(hour * HOUR + minute * MINUTE + second);
    let is_end_of_day = (hour, minute, second) == (24, 0, 0) && fraction.is_zero();
    if (hour <= 23 && minute <= 59 && second <= 60) || is_end_of_day { Ok(whole + fraction) } else { Err(NoTime) }
}

/// A decimal fraction of a unit of `seconds`; zero if there is no fraction.
fn read_fraction(text: &mut Cursor<'_>, seconds: i64) -> Result<SignedDuration, TimeError> {
    if !(text.take(".") || text.take(",")) {
        return Ok(SignedDuration::ZERO);
    }
    let digits = text.digits();
    if digits.is_empty() {
        return Err(NoTime);
    }
    // Further digits are below a nanosecond.
    let counted = &digits[..digits.len().min(15)];
    let scale = 10_i128.pow(u32::try_from(counted.len()).map_err(|_| NoTime)?);
    let nanos = i128::from(number(counted)?) * i128::from(seconds) * 1_000_000_000 / scale;
    Ok(SignedDuration::from_nanos(i64::try_from(nanos).map_err(|_| NoTime)?))
}

/// UTC offset in seconds, positive to the east; `None`: no offset given.
fn read_offset(text: &mut Cursor<'_>) -> Result<Option<i64>, TimeError> {
    text.take(" ");
    if text.take("Z") || text.take("z") {
        return Ok(Some(0));
    }
    let is_behind = text.take_minus();
    if !(is_behind || text.take("+")) {
        return Ok(None);
    }
    let (hours, mut minutes, mut seconds) = (text.number(2)?, 0, 0);
    if text.take(":") || text.0.starts_with(|c: char| c.is_ascii_digit()) {
        minutes = text.number(2)?;
        // Historical local mean times have offsets with seconds.
        if text.take(":") || text.0.starts_with(|c: char| c.is_ascii_digit()) {
            seconds = text.number(2)?;
        }
    }
    if hours > 23 || minutes > 59 || seconds > 59 {
        return Err(NoTime);
    }
    let offset = hours * HOUR + minutes * MINUTE + seconds;
    Ok(Some(if is_behind { -offset } else { offset }))
}

/// Remaining text.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        let rest = self.0.strip_prefix(prefix);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// A hyphen, or the minus sign U+2212 that ISO 8601 prefers.
    fn take_minus(&mut self) -> bool {
        self.take("-") || self.take("\u{2212}")
    }

    /// All digits at the start of the remaining text.
    fn digits(&mut self) -> &'a str {
        let end = self.0.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits
    }

    /// The next `count` bytes.
    fn first(&mut self, count: usize) -> Result<&'a str, TimeError> {
        let (first, rest) = self.0.split_at_checked(count).ok_or(NoTime)?;
        self.0 = rest;
        Ok(first)
    }

    /// A number of exactly `digits` digits.
    fn number(&mut self, digits: usize) -> Result<i64, TimeError> {
        number(self.first(digits)?)
    }
}

fn number(digits: &str) -> Result<i64, TimeError> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().map_err(|_| NoTime) } else { Err(NoTime) }
}

fn small(number: i64) -> Result<i8, TimeError> {
    i8::try_from(number).map_err(|_| NoTime)
}
