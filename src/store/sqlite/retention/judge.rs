//! Judges the events of rows: what retention keeps of each, where their runs begin, and where the feed begins.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::codec::{Chunk, record};
use crate::domain::Result;
use crate::domain::event::Removal;
use crate::domain::retention::{Keep, Retention};
use crate::store::project::position_of;
use crate::store::sqlite::feed_floors::FeedFloor;

use super::row::Fate;
use super::rows::{RunFacts, StoredEvent};

/// The rules of one slice.
pub struct Judge<'a> {
    pub retention: &'a Retention,
    pub now: Timestamp,
    /// Position of the newest event of the feed, which is never dropped.
    pub last_position: u64,
}

impl Judge<'_> {
    /// Whether the project holds more bytes than it may.
    pub fn is_over(&self, floor: &FeedFloor) -> bool {
        self.retention.max_bytes.is_some_and(|max| floor.bytes > i64::try_from(max).unwrap_or(i64::MAX))
    }

    /// Whether a row that begins with this record is so young that no event from it on can be too old. Times may be out of
    /// order by a little, if clocks are; a later pass finds what this one leaves.
    pub fn is_young(&self, record: &[u8]) -> Result<bool> {
        let recorded_at = record::recorded_at(record)?;
        Ok(!self.retention.shortest().is_some_and(|age| self.is_older(recorded_at, age)))
    }

    fn is_older(&self, recorded_at: Timestamp, age: Duration) -> bool {
        let age = SignedDuration::try_from(age).ok();
        age.and_then(|age| self.now.checked_sub(age).ok()).is_some_and(|limit| recorded_at < limit)
    }

    /// Fates of the events of a row. Moves the begins of their runs, and the begin of the feed if the row is the first one in
    /// it and need not be there any more.
    pub fn fates(
        &self,
        chunk: &Chunk,
        events: &[StoredEvent],
        runs: &mut [RunFacts],
        floor: &mut FeedFloor,
    ) -> Result<Vec<Fate<'static>>> {
        let is_over = self.is_over(floor);
        let (first, last) = (position_of(chunk.first), position_of(chunk.last()));
        let is_before = first < floor.first();
        let has_newest = !is_before && last >= self.last_position;
        let mut newest = Timestamp::MIN;
        let mut fates = Vec::with_capacity(events.len());
        for (event, position) in events.iter().zip(first..) {
            let recorded_at = record::recorded_at(&event.record)?;
            newest = newest.max(recorded_at);
            let run = &mut runs[event.run];
            let is_newest = has_newest && position == self.last_position;
            fates.push(if event.seq < run.first_seq {
                Fate::Drop
            } else if run.is_held || !(is_over || self.is_too_old(event, run, recorded_at)?) {
                Fate::Keep
            } else if event.seq == run.first_seq && !is_newest {
                run.first_seq += 1;
                Fate::Drop
            } else {
                Fate::Remove(Removal::Expired)
            });
        }
        let is_needed = || {
            let is_old = self.retention.longest().is_some_and(|age| self.is_older(newest, age));
            !is_old && fates.iter().any(|fate| *fate != Fate::Drop)
        };
        if first == floor.first() && !has_newest && !is_needed() {
            floor.first_pos = chunk.last().cast_signed() + 1;
        } else if !is_before {
            // The feed has no gaps.
            fates
                .iter_mut()
                .filter(|fate| **fate == Fate::Drop)
                .for_each(|fate| *fate = Fate::Remove(Removal::Expired));
        }
        Ok(fates)
    }

    fn is_too_old(&self, event: &StoredEvent, run: &RunFacts, recorded_at: Timestamp) -> Result<bool> {
        let header = record::header(&event.record)?;
        Ok(match self.retention.keep(header.event_type, run.status) {
            Keep::Forever => false,
            Keep::For(age) => self.is_older(recorded_at, age),
        })
    }
}
