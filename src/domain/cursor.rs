//! Cursors: resume points of readers. ListEvents, Subscribe, SSE ids and `Last-Event-ID` use the same cursors. A cursor is
//! exclusive: reading continues after its event.

use std::fmt;

use super::error::{Error, Result};
use super::history::{FeedId, History, Mark};
use super::ids::RunId;

/// Scope of a read: one run in seq order, or all runs in commit order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One run. The offset of an event is its seq.
    Run(RunId),
    /// All runs. The offset of an event is its position in the feed: 1, 2, 3 … in commit order.
    Feed,
}

/// The offset after which reading continues: a seq or a feed position. 0 is the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

impl Cursor {
    /// Parses a cursor of this scope: a decimal seq in a run, a [`FeedCursor`] in the feed. Empty text is the beginning.
    ///
    /// # Errors
    /// `CursorInvalid`; in the feed also `HistoryLost` for a position that the cursor's history does not share with the store.
    pub fn parse(text: &str, scope: &Scope, history: &History) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(0));
        }
        match scope {
            Scope::Run(_) => Self::parse_in_run(text),
            Scope::Feed => Self::parse_in_feed(text, history),
        }
    }

    /// Parses a cursor of a run.
    ///
    /// # Errors
    /// `CursorInvalid`.
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
            // SQLite and PostgreSQL store signed 64-bit integers.
            Ok(seq) if canonical && seq <= i64::MAX as u64 => Ok(Self(seq)),
            _ => Err("must be the decimal seq of the last read event, without sign or leading zero"),
        }
    }

    /// The text for clients of this scope.
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

/// Parts of a feed cursor: store, position and epoch.
///
/// As text `f1-`, the store's id in 8 and the position in 16 hex digits, for cursors of the first epoch (all cursors of
/// version 0.1.0); else `f2-`, the same digits, `-` and the [`Mark`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedCursor {
    /// Id of the store's feed.
    pub feed: FeedId,
    /// Position after which reading continues; 0: the beginning.
    pub position: u64,
    /// Epoch of the event at the position.
    pub mark: Mark,
}

impl FeedCursor {
    /// Parses a cursor of any store.
    ///
    /// # Errors
    /// `CursorInvalid` for any text but the form of [`Display`](fmt::Display).
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

    /// The cursor moved to an earlier position, in the same epoch.
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

/// Form in logs.
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
                for offset in [0, 1, 300, i64::MAX as u64] {
                    let text = Cursor(offset).to_text(&scope, &history);
                    assert_eq!(Cursor::parse(&text, &scope, &history).unwrap(), Cursor(offset));
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
