//! Cursors: where a reader stands. One kind for ListEvents, Subscribe, SSE ids and `Last-Event-ID`, always exclusive.

use std::fmt;

use super::error::{Error, Result};
use super::id::RunId;

/// What is read: one run in the order of its seqs, or all runs in commit order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One run. The coordinate of an event is its seq.
    Run(RunId),
    /// All runs. The coordinate of an event is its position in the feed: 1, 2, 3 … in commit order.
    Feed,
}

/// Identifies the feed of one store, so that a cursor of another store is refused by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedId(pub u32);

/// "After this coordinate". 0 is the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Reads a cursor of this scope; the empty text is the beginning.
    ///
    /// In a run it is the decimal seq. In the feed it is `f1-`, the store's id in 8 and the position in 16 hex digits.
    pub fn parse(text: &str, scope: &Scope, feed: FeedId) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(0));
        }
        match scope {
            Scope::Run(_) => Self::parse_seq(text),
            Scope::Feed => Self::parse_token(text, feed),
        }
        .map_err(|problem| Error::CursorInvalid { cursor: text.chars().take(64).collect(), problem })
    }

    fn parse_seq(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("f1-") {
            return Err("this is a cursor of the all-runs feed; a run takes the decimal seq of its last read event");
        }
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        match text.parse::<u64>() {
            // SQLite and PostgreSQL hold 63 bits, which no run will ever use up.
            Ok(seq) if canonical && seq <= i64::MAX as u64 => Ok(Self(seq)),
            _ => Err("must be the decimal seq of the last read event, without sign or leading zero"),
        }
    }

    fn parse_token(text: &str, feed: FeedId) -> Result<Self, &'static str> {
        const MALFORMED: &str = "must be a cursor that the all-runs feed gave, unchanged";
        let (id, position) = text.strip_prefix("f1-").and_then(|rest| rest.split_at_checked(8)).ok_or(MALFORMED)?;
        let hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if position.len() != 16 || !hex(id) || !hex(position) {
            return Err(MALFORMED);
        }
        let id = u32::from_str_radix(id, 16).map_err(|_| MALFORMED)?;
        let position = u64::from_str_radix(position, 16).map_err(|_| MALFORMED)?;
        if position > i64::MAX as u64 {
            return Err(MALFORMED);
        }
        if FeedId(id) != feed {
            return Err("this is a cursor of another store; start from the beginning or from the latest event");
        }
        Ok(Self(position))
    }

    /// Reads a cursor of any store's feed; tells which store's.
    pub fn parse_of_any_feed(text: &str) -> Result<(FeedId, Self)> {
        let id = text.get(3..11).and_then(|id| u32::from_str_radix(id, 16).ok()).map(FeedId).unwrap_or(FeedId(0));
        Ok((id, Self::parse(text, &Scope::Feed, id)?))
    }

    /// The text to give back, for this scope.
    #[must_use]
    pub fn to_text(self, scope: &Scope, feed: FeedId) -> String {
        match scope {
            Scope::Run(_) => self.0.to_string(),
            Scope::Feed => format!("f1-{:08x}{:016x}", feed.0, self.0),
        }
    }
}

/// For logs.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run_id) => write!(f, "run {run_id}"),
            Self::Feed => f.write_str("all runs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: FeedId = FeedId(0xc0ff_ee00);

    fn run() -> Scope {
        Scope::Run(RunId::parse("r").unwrap())
    }

    #[test]
    fn a_cursor_reads_back_in_its_scope_and_is_refused_in_another() {
        for scope in [run(), Scope::Feed] {
            for coordinate in [0, 1, 300, i64::MAX as u64] {
                let text = Cursor(coordinate).to_text(&scope, FEED);
                assert_eq!(Cursor::parse(&text, &scope, FEED).unwrap(), Cursor(coordinate));
            }
        }
        assert!(Cursor::parse(&Cursor(1).to_text(&Scope::Feed, FEED), &run(), FEED).is_err());
        assert!(Cursor::parse("1", &Scope::Feed, FEED).is_err());
        let foreign = Cursor(1).to_text(&Scope::Feed, FeedId(1));
        assert!(Cursor::parse(&foreign, &Scope::Feed, FEED).unwrap_err().to_string().contains("another store"));
        assert_eq!(Cursor::parse_of_any_feed(&foreign).unwrap(), (FeedId(1), Cursor(1)));
        assert!(Cursor::parse_of_any_feed("1").is_err());
    }

    #[test]
    fn malformed_cursors_are_refused_by_name() {
        for bad in ["-1", "+1", "01", " 1", "1 ", "1.0", "x", "18446744073709551616", "9223372036854775808", "١"] {
            let error = Cursor::parse(bad, &run(), FEED).unwrap_err();
            assert_eq!((error.reason(), error.field().as_deref()), ("CURSOR_INVALID", Some("cursor")), "{bad}");
        }
        for bad in ["f1-", "f1-c0ffee00", "f1-c0ffee00000000000000000g", "f1-C0FFEE000000000000000001", "f1-ééééé"]
        {
            assert!(Cursor::parse(bad, &Scope::Feed, FEED).is_err(), "{bad}");
        }
    }
}
