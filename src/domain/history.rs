//! Epochs: ranges of feed positions, similar to the timelines of PostgreSQL. A store that goes back to an older
//! state, from a backup or by a failover, begins a new epoch. A cursor carries its epoch, so that a cursor of lost events is
//! detected.
//!
//! The first epoch has no id. Each later epoch has a random id, begins after a position of the feed and ends at the start of
//! the next epoch.

use std::fmt;

/// Random id of a store's feed. A cursor of another store is refused with a message that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedId(pub u32);

/// Maximum number of epochs in a mark. If the newest of them is unknown to a store, an older epoch still gives the last
/// position that both histories share.
const MAX_MARKED: usize = 4;

/// An epoch after the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Random id, not 0.
    pub id: u32,
    /// Feed position after which the epoch begins.
    pub start: u64,
}

/// All epochs of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Id of the store's feed.
    pub feed: FeedId,
    /// Ascending by start, without the first epoch.
    epochs: Vec<Epoch>,
}

/// Origin of a cursor in the history: its epoch and the epochs before, newest first, at most 4. Empty: the first epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark(Vec<Epoch>);

impl History {
    /// `epochs` ascend by start and do not include the first epoch.
    #[must_use]
    pub fn new(feed: FeedId, epochs: Vec<Epoch>) -> Self {
        debug_assert!(epochs.is_sorted_by_key(|epoch| epoch.start), "epochs ascend");
        Self { feed, epochs }
    }

    /// Feed position after which the newest epoch begins; 0 in the first epoch.
    #[must_use]
    pub fn newest_start(&self) -> u64 {
        self.epochs.last().map_or(0, |epoch| epoch.start)
    }

    /// Mark of the newest epoch, for cursors given now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.mark_of(&self.epochs)
    }

    /// Mark of the epoch in which the event at this feed position was stored.
    #[must_use]
    pub fn mark_at(&self, position: u64) -> Mark {
        self.mark_of(&self.epochs[..self.epochs.partition_point(|epoch| epoch.start < position)])
    }

    fn mark_of(&self, epochs: &[Epoch]) -> Mark {
        Mark(epochs.iter().rev().take(MAX_MARKED).copied().collect())
    }

    /// Last feed position that this history shares with the history of the mark; `u64::MAX`: no limit. `None`: not known,
    /// since the mark is full and this store has none of its epochs.
    #[must_use]
    pub fn agrees_with(&self, mark: &Mark) -> Option<u64> {
        let mut after = u64::MAX;
        for epoch in &mark.0 {
            if let Some(end) = self.end_of(*epoch) {
                return Some(end.min(after));
            }
            after = epoch.start;
        }
        // All histories of this feed share the first epoch.
        let first_end = self.epochs.first().map_or(u64::MAX, |epoch| epoch.start);
        (mark.0.len() < MAX_MARKED).then(|| first_end.min(after))
    }

    fn end_of(&self, epoch: Epoch) -> Option<u64> {
        let at = self.epochs.iter().position(|known| *known == epoch)?;
        Some(self.epochs.get(at + 1).map_or(u64::MAX, |next| next.start))
    }
}

impl Mark {
    /// Parses the form of [`Display`](fmt::Display); `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::default());
        }
        let epochs: Option<Vec<Epoch>> = text.split('.').map(parse_epoch).collect();
        epochs.filter(|epochs| epochs.len() <= MAX_MARKED).map(Self)
    }

    /// Whether the mark is of the first epoch.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.0.is_empty()
    }
}

fn parse_epoch(text: &str) -> Option<Epoch> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let (id, start) = text.split_at_checked(8).filter(|_| is_hex)?;
    Some(Epoch { id: u32::from_str_radix(id, 16).ok()?, start: u64::from_str_radix(start, 16).ok()? })
}

/// Epochs separated by dots, each an id of 8 hex digits and the start in hex; `0` for the first epoch.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_first() {
            return f.write_str("0");
        }
        for (index, Epoch { id, start }) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}{id:08x}{start:x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(epochs: &[(u32, u64)]) -> History {
        History::new(FeedId(1), epochs.iter().map(|(id, start)| Epoch { id: *id, start: *start }).collect())
    }

    #[test]
    fn a_mark_reads_back_and_nothing_else_is_one() {
        for epochs in [&[][..], &[(1, 0)], &[(u32::MAX, 7), (3, 1 << 40)]] {
            let mark = history(epochs).mark();
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        for bad in ["", "1", "00000001", "0000000g1", "000000011.", "+00000011", "00000001-1"] {
            assert_eq!(Mark::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn histories_agree_up_to_where_the_first_of_them_left_the_common_one() {
        let before = history(&[(1, 100), (2, 250)]);
        // Restored from a backup taken at 200, then started twice.
        let after = history(&[(1, 100), (8, 200), (9, 230)]);
        assert_eq!(after.agrees_with(&before.mark()), Some(200));
        assert_eq!(after.agrees_with(&before.mark_at(220)), Some(200));
        assert_eq!(after.agrees_with(&before.mark_at(100)), Some(100), "all of the first one");
        assert_eq!(before.agrees_with(&after.mark()), Some(200), "either way");
        assert_eq!(after.agrees_with(&after.mark()), Some(u64::MAX));
        assert_eq!(history(&[]).agrees_with(&Mark::default()), Some(u64::MAX));
        assert_eq!(history(&[(5, 40)]).agrees_with(&before.mark()), Some(40));
    }

    #[test]
    fn a_history_that_is_too_long_to_compare_agrees_nowhere_for_certain() {
        let long = history(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)]);
        assert_eq!(history(&[(7, 9)]).agrees_with(&long.mark()), None);
        assert_eq!(history(&[(1, 1), (2, 2), (9, 3)]).agrees_with(&long.mark()), Some(3));
    }
}
