//! Cursors: where a reader stands. One kind for ListEvents, Subscribe, SSE ids and `Last-Event-ID`, always exclusive.

use std::fmt;

use super::error::{Error, Result};
use super::history::{History, Mark};
use super::ids::RunId;

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
    /// In a run it is the decimal seq. In the feed it is a [`FeedCursor`].
    ///
    /// # Errors
    /// `CursorInvalid`; in the feed also `HistoryLost`, where the store has another history there than the one of the cursor.
    pub fn parse(text: &str, scope: &Scope, history: &History) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(0));
        }
        match scope {
            Scope::Run(_) => Self::parse_in_run(text),
            Scope::Feed => Self::parse_in_feed(text, history),
        }
    }

    /// Reads a cursor of a run.
    pub fn parse_in_run(text: &str) -> Result<Self> {
        Self::parse_seq(text).map_err(|problem| invalid(text, problem))
    }

    fn parse_in_feed(text: &str, history: &History) -> Result<Self> {
        let FeedCursor { feed, position, mark } = FeedCursor::parse(text)?;
        if feed != history.feed {
            return Err(invalid(
                text,
                "this is a cursor of another store; start from the beginning or from the latest event",
            ));
        }
        match history.agrees_with(&mark) {
            _ if position == 0 => Ok(Self(0)),
            Some(end) if position <= end => Ok(Self(position)),
            agrees => {
                let end = agrees.map(|end| Self(end).to_text(&Scope::Feed, history));
                Err(Error::HistoryLost { cursor: text.chars().take(128).collect(), end })
            }
        }
    }

    fn parse_seq(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("f1-") || text.starts_with("f2-") {
            return Err("this is a cursor of the all-runs feed; a run takes the decimal seq of its last read event");
        }
        let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        match text.parse::<u64>() {
            // SQLite and PostgreSQL hold 63 bits, which no run will ever use up.
            Ok(seq) if canonical && seq <= i64::MAX as u64 => Ok(Self(seq)),
            _ => Err("must be the decimal seq of the last read event, without sign or leading zero"),
        }
    }

    /// The text to give back, for this scope.
    #[must_use]
    pub fn to_text(self, scope: &Scope, history: &History) -> String {
        match scope {
            Scope::Run(_) => self.0.to_string(),
            Scope::Feed => {
                let mark = history.mark_at(self.0);
                FeedCursor { feed: history.feed, position: self.0, mark }.to_string()
            }
        }
    }
}

fn invalid(text: &str, problem: &'static str) -> Error {
    Error::CursorInvalid { cursor: text.chars().take(64).collect(), problem }
}

/// A cursor of the feed by itself: which store's, after which position, and in which epoch it was given.
///
/// As text: `f1-`, the store's id in 8 and the position in 16 hex digits; or `f2-`, the same, `-` and the [`Mark`]. The first
/// is a cursor of the first epoch, as version 0.1.0 gives them all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedCursor {
    /// The store.
    pub feed: FeedId,
    /// 0: the beginning.
    pub position: u64,
    /// The epoch.
    pub mark: Mark,
}

impl FeedCursor {
    /// Reads one of any store.
    pub fn parse(text: &str) -> Result<Self> {
        const MALFORMED: &str = "must be a cursor that the all-runs feed gave, unchanged";
        let cursor = Self::parse_parts(text).filter(|cursor| cursor.to_string() == text);
        cursor.ok_or_else(|| invalid(text, MALFORMED))
    }

    fn parse_parts(text: &str) -> Option<Self> {
        let (digits, mark) = match (text.strip_prefix("f1-"), text.strip_prefix("f2-")) {
            (Some(digits), _) => (digits, Mark::default()),
            (None, rest) => {
                let (digits, mark) = rest?.split_once('-')?;
                (digits, Mark::parse(mark)?)
            }
        };
        let hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let (id, position) = digits.split_at_checked(8).filter(|_| digits.len() == 24 && hex(digits))?;
        let feed = FeedId(u32::from_str_radix(id, 16).ok()?);
        let position = u64::from_str_radix(position, 16).ok().filter(|position| *position <= i64::MAX as u64)?;
        Some(Self { feed, position, mark })
    }

    /// The same at an earlier position.
    #[must_use]
    pub fn at(&self, position: u64) -> Self {
        Self { position, ..self.clone() }
    }
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feed, position, mark } = self;
        if mark.is_first() {
            return write!(f, "f1-{:08x}{position:016x}", feed.0);
        }
        write!(f, "f2-{:08x}{position:016x}-{mark}", feed.0)
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
    use crate::domain::history::Epoch;

    const FEED: FeedId = FeedId(0xc0ff_ee00);

    fn run() -> Scope {
        Scope::Run(RunId::parse("r").unwrap())
    }

    fn history(epochs: &[(u32, u64)]) -> History {
        History::new(FEED, epochs.iter().map(|(id, start)| Epoch { id: *id, start: *start }).collect())
    }

    #[test]
    fn a_cursor_reads_back_in_its_scope_and_is_refused_in_another() {
        for history in [history(&[]), history(&[(9, 0)]), history(&[(7, 1), (8, 299), (9, 300)])] {
            for scope in [run(), Scope::Feed] {
                for coordinate in [0, 1, 300, i64::MAX as u64] {
                    let text = Cursor(coordinate).to_text(&scope, &history);
                    assert_eq!(Cursor::parse(&text, &scope, &history).unwrap(), Cursor(coordinate));
                }
            }
        }
        let history = history(&[]);
        assert!(Cursor::parse(&Cursor(1).to_text(&Scope::Feed, &history), &run(), &history).is_err());
        assert!(Cursor::parse("1", &Scope::Feed, &history).is_err());
        let foreign = FeedCursor { feed: FeedId(1), position: 1, mark: Mark::default() };
        let error = Cursor::parse(&foreign.to_string(), &Scope::Feed, &history).unwrap_err();
        assert!(error.to_string().contains("another store"));
        assert_eq!(FeedCursor::parse(&foreign.to_string()).unwrap(), foreign);
        assert!(FeedCursor::parse("1").is_err());
    }

    #[test]
    fn a_cursor_of_lost_history_is_refused_with_where_both_agree() {
        let (before, after) = (history(&[(1, 100)]), history(&[(1, 100), (2, 200)]));
        for (position, is_there) in [(0, true), (100, true), (200, true), (201, false), (900, false)] {
            let text = Cursor(position).to_text(&Scope::Feed, &before);
            let parsed = Cursor::parse(&text, &Scope::Feed, &after);
            assert_eq!(parsed.is_ok(), is_there, "{position}");
            if let Err(error) = parsed {
                let agreed = Cursor(200).to_text(&Scope::Feed, &after);
                assert_eq!((error.reason(), error.field().as_deref()), ("HISTORY_LOST", Some("cursor")));
                assert!(error.metadata().contains(&("agreed_cursor", agreed)), "{error:?}");
            }
        }
    }

    #[test]
    fn malformed_cursors_are_refused_by_name() {
        let history = history(&[(1, 5)]);
        for bad in ["-1", "+1", "01", " 1", "1 ", "1.0", "x", "18446744073709551616", "9223372036854775808", "١"] {
            let error = Cursor::parse(bad, &run(), &history).unwrap_err();
            assert_eq!((error.reason(), error.field().as_deref()), ("CURSOR_INVALID", Some("cursor")), "{bad}");
        }
        for bad in [
            "f1-",
            "f1-c0ffee00",
            "f1-c0ffee00000000000000000g",
            "f1-C0FFEE000000000000000001",
            "f1-ééééé",
            "f2-c0ffee000000000000000001",
            "f2-c0ffee000000000000000001-",
            "f3-c0ffee000000000000000001-0",
        ] {
            assert!(Cursor::parse(bad, &Scope::Feed, &history).is_err(), "{bad}");
        }
    }
}
