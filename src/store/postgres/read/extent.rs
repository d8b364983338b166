//! The kept part of a scope. A page is read after the extent, and retention may remove events in between.

use crate::domain::Error;
use crate::store::ReadFrom;

/// First and last kept offset of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// One more than `last` if no event is kept.
    pub first: u64,
    pub last: u64,
}

impl Extent {
    /// Fails with `EventsExpired` if the first event of a read from there is not kept any more.
    pub fn check(self, from: ReadFrom) -> Result<(), Error> {
        let is_expired = match from {
            ReadFrom::After(offset) => offset.saturating_add(1) < self.first,
            // Nothing was removed before the first event of all.
            ReadFrom::Before(offset) => offset < self.first && self.first > 1,
            ReadFrom::End => false,
        };
        if is_expired { Err(Error::EventsExpired { first: self.first }) } else { Ok(()) }
    }

    /// Whether a page may begin with this offset, `None` for an empty page. If not, events were removed meanwhile. The scope
    /// may have grown.
    pub fn may_begin(self, from: ReadFrom, begin: Option<u64>) -> bool {
        let highest = from.highest();
        match (from, begin) {
            (ReadFrom::After(offset), None) => offset >= self.last,
            (ReadFrom::After(offset), Some(begin)) => begin == offset + 1,
            (_, None) => highest.min(self.last) < self.first,
            (_, Some(begin)) if highest <= self.last => begin == highest,
            (_, Some(begin)) => begin >= self.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ReadFrom::{After, Before, End};

    const KEPT: Extent = Extent { first: 4, last: 9 };

    #[test]
    fn a_read_that_begins_before_the_first_kept_event_has_expired() {
        let expired = |from| KEPT.check(from).is_err();
        assert_eq!([After(0), After(2), After(3), After(99)].map(expired), [true, true, false, false]);
        assert_eq!([Before(0), Before(3), Before(4), Before(99), End].map(expired), [true, true, false, false, false]);
        let whole = Extent { first: 1, last: 0 };
        assert!([After(0), Before(0), Before(1), End].into_iter().all(|from| whole.check(from).is_ok()));
    }

    #[test]
    fn a_page_that_begins_elsewhere_was_read_after_a_removal() {
        for (from, begin, is_right) in [
            (After(3), Some(4), true),
            (After(3), Some(5), false),
            (After(3), None, false),
            (After(9), None, true),
            (After(9), Some(10), true),
            (After(9), Some(11), false),
            (Before(4), None, true),
            (Before(5), None, false),
            (Before(7), Some(6), true),
            (Before(7), Some(5), false),
            (Before(99), Some(9), true),
            (Before(99), Some(8), false),
            (End, Some(12), true),
            (End, None, false),
        ] {
            assert_eq!(KEPT.may_begin(from, begin), is_right, "{from:?} {begin:?}");
        }
        let none = Extent { first: 10, last: 9 };
        assert!(none.may_begin(After(9), None) && none.may_begin(End, None) && none.may_begin(Before(10), None));
    }
}
