//! What the writer does between commits: sealing, merging and removing, in slices of a few milliseconds.

use std::collections::VecDeque;

use sqlx::SqliteConnection;

use crate::domain::Result;

use super::ids::merge::{Merge, Removal};
use super::ids::{BLOCK_PLACES, Ids};
use super::seal::{Seal, Unsealed};
use super::tail::Tail;

/// How often an id is written on its way through seal and merges, in a store of some hundred million.
const ID_WRITES: usize = 6;

/// The work that is under way. It is lost with the process and after a failure, and begins anew then.
pub struct Upkeep {
    /// How much of the log no index covers.
    pub unsealed: Unsealed,
    seal: Option<Seal>,
    merge: Option<Merge>,
    removals: VecDeque<Removal>,
    next_segment: i64,
    max_unsealed_entries: usize,
    slice: (usize, u32),
}

impl Upkeep {
    /// For a store that was just read: `garbage` are segments that are not live.
    pub fn new(unsealed: Unsealed, ids: &Ids, garbage: Vec<(i64, u32)>, bounds: (usize, usize)) -> Self {
        let segments = ids.segments();
        let numbers = segments.iter().map(|segment| segment.number).chain(garbage.iter().map(|(number, _)| *number));
        let next_segment = numbers.max().unwrap_or(0) + 1;
        let removals = garbage.into_iter().map(|(number, blocks)| Removal::new(number, blocks)).collect();
        let (max_unsealed_entries, slice_entries) = bounds;
        let slice_blocks = u32::try_from(slice_entries.div_ceil(2)).unwrap_or(u32::MAX);
        let slice = (slice_entries, slice_blocks);
        Self { unsealed, seal: None, merge: None, removals, next_segment, max_unsealed_entries, slice }
    }

    /// Whether there is anything to do; begins what is due.
    pub fn is_due(&mut self, tail: &Tail, ids: &Ids) -> bool {
        if self.seal.is_none() && self.unsealed.is_due(self.max_unsealed_entries, ids.recent_len(), 1) {
            self.seal = Some(Seal::begin(tail, ids, self.unsealed, self.next_segment));
            self.next_segment += 1;
        }
        if self.seal.is_none() && self.merge.is_none() && self.removals.is_empty() {
            self.merge = Merge::due(&ids.segments(), self.next_segment);
            self.next_segment += i64::from(self.merge.is_some());
        }
        self.seal.is_some() || self.merge.is_some() || !self.removals.is_empty()
    }

    /// Whether the unsealed end has grown so far that commits have to wait.
    pub fn is_overdue(&self, ids: &Ids) -> bool {
        self.seal.is_some() && self.unsealed.is_due(self.max_unsealed_entries, ids.recent_len(), 2)
    }

    /// How many slices follow on a commit of so many entries and ids, while there is anything to do: as many as it makes
    /// necessary, so that seals and merges keep up however much comes.
    pub fn share(&self, entries: usize, ids: usize) -> usize {
        let (slice_entries, slice_blocks) = self.slice;
        entries.div_ceil(slice_entries) + (ids * ID_WRITES).div_ceil(slice_blocks as usize * BLOCK_PLACES)
    }

    /// Does one slice of what is most urgent.
    pub async fn step(&mut self, writer: &mut SqliteConnection, tail: &Tail, ids: &Ids) -> Result<()> {
        if let Some(seal) = &mut self.seal {
            if seal.slice(writer, tail, ids, self.slice).await? {
                self.unsealed.entries -= seal.takes.entries;
                self.unsealed.bytes -= seal.takes.bytes;
                self.seal = None;
            }
        } else if let Some(merge) = &mut self.merge {
            if let Some(removals) = merge.slice(writer, ids, self.slice.1).await? {
                self.removals.extend(removals);
                self.merge = None;
            }
        } else if let Some(removal) = self.removals.front_mut()
            && removal.slice(writer, self.slice.1).await?
        {
            self.removals.pop_front();
        }
        Ok(())
    }
}
