//! What the writer does between commits: sealing, merging and removing, in slices of a few milliseconds.

pub mod backoff;
pub mod checkpointer;
pub mod scrub;
pub mod transaction;
pub mod wal_preallocator;

use std::collections::VecDeque;

use sqlx::SqliteConnection;

use crate::domain::Error;

use super::error::StepError;
use super::index::flush::{Flush, Unflushed};
use super::index::id_index::compaction::{Merge, Removal};
use super::index::id_index::{BLOCK_PLACES, Ids};
use super::index::unindexed_tail::UnindexedTail;
use backoff::Backoff;

/// How often an id is written on its way through flush and merges, in a store of some hundred million.
const ID_WRITES: usize = 6;

/// While seals fail, commits go on until the unflushed end is so many times as long as it is when a flush is due: it lies in
/// memory, and a start reads it.
const MAX_UNFLUSHED_TIMES: usize = 16;

/// The work that is under way. It is lost with the process, and begins anew then.
pub struct Maintenance {
    /// How much of the log no index covers.
    pub unflushed: Unflushed,
    flush: Option<Flush>,
    merge: Option<Merge>,
    removals: VecDeque<Removal>,
    /// Segments of a merge that met damage.
    unreadable: Vec<i64>,
    next_segment: i64,
    max_unflushed_entries: usize,
    slice: (usize, u32),
    /// Of seals.
    flush_backoff: Backoff,
    /// Of merges and removals, which a flush does not wait for.
    merge_backoff: Backoff,
    /// Whether the last flush that failed met a full disk.
    is_full: bool,
}

/// What a slice works on.
enum Step {
    Flush,
    Merge,
    Removal,
}

impl Maintenance {
    /// For a store that was just read: `garbage` are segments that are not live.
    pub fn new(unflushed: Unflushed, ids: &Ids, garbage: Vec<(i64, u32)>, bounds: (usize, usize)) -> Self {
        let segments = ids.segments();
        let numbers = segments.iter().map(|segment| segment.number).chain(garbage.iter().map(|(number, _)| *number));
        let next_segment = numbers.max().unwrap_or(0) + 1;
        let removals = garbage.into_iter().map(|(number, blocks)| Removal::new(number, blocks)).collect();
        let (max_unflushed_entries, slice_entries) = bounds;
        let slice_blocks = u32::try_from(slice_entries.div_ceil(2)).unwrap_or(u32::MAX);
        Self {
            unflushed,
            flush: None,
            merge: None,
            removals,
            unreadable: Vec::new(),
            next_segment,
            max_unflushed_entries,
            slice: (slice_entries, slice_blocks),
            flush_backoff: Backoff::new("flush"),
            merge_backoff: Backoff::new("merge"),
            is_full: false,
        }
    }

    /// Whether there is anything to do now; begins what is due.
    pub fn is_due(&mut self, tail: &UnindexedTail, ids: &Ids) -> bool {
        if self.flush.is_none() && self.unflushed.is_due(self.max_unflushed_entries, ids.recent_len(), 1) {
            self.flush = Some(Flush::begin(tail, ids, self.unflushed, self.next_segment));
            self.next_segment += 1;
        }
        if self.flush.is_none() && self.merge.is_none() && self.removals.is_empty() {
            self.merge = Merge::due(&ids.segments(), &self.unreadable, self.next_segment);
            self.next_segment += i64::from(self.merge.is_some());
        }
        self.next_step().is_some()
    }

    /// What is most urgent of that which may be tried.
    fn next_step(&self) -> Option<Step> {
        if self.flush.is_some() && self.flush_backoff.allows() {
            return Some(Step::Flush);
        }
        if !self.merge_backoff.allows() {
            return None;
        }
        if self.merge.is_some() { Some(Step::Merge) } else { (!self.removals.is_empty()).then_some(Step::Removal) }
    }

    /// Whether the unflushed end has grown so far that commits have to wait.
    pub fn is_overdue(&self, ids: &Ids) -> bool {
        self.flush.is_some() && self.unflushed.is_due(self.max_unflushed_entries, ids.recent_len(), 2)
    }

    /// Why nothing may be added to the unflushed end: seals fail, and it has reached its bound.
    pub fn refusal(&self, ids: &Ids) -> Option<Error> {
        let is_at_bound = || self.unflushed.is_due(self.max_unflushed_entries, ids.recent_len(), MAX_UNFLUSHED_TIMES);
        let refusal = if self.is_full { Error::StoreFull } else { Error::StoreUnavailable };
        (self.flush_backoff.is_outage() && is_at_bound()).then_some(refusal)
    }

    /// How many slices follow on a commit of so many entries and ids, while there is anything to do: as many as it makes
    /// necessary, so that seals and merges keep up however much comes.
    pub fn share(&self, entries: usize, ids: usize) -> usize {
        let (slice_entries, slice_blocks) = self.slice;
        entries.div_ceil(slice_entries) + (ids * ID_WRITES).div_ceil(slice_blocks as usize * BLOCK_PLACES)
    }

    /// Does one slice of what is most urgent; returns whether it succeeded. What failed is where it was before, and is tried
    /// again after a pause.
    pub async fn step(&mut self, writer: &mut SqliteConnection, tail: &UnindexedTail, ids: &Ids) -> bool {
        let Some(step) = self.next_step() else { return true };
        let (result, backoff) = match step {
            Step::Flush => (self.flush_slice(writer, tail, ids).await, &mut self.flush_backoff),
            Step::Merge => (self.merge_slice(writer, ids).await, &mut self.merge_backoff),
            Step::Removal => (self.removal_slice(writer).await, &mut self.merge_backoff),
        };
        backoff.record(&result);
        if let (Step::Flush, Err(error)) = (step, &result) {
            self.is_full = error.is_full();
        }
        metrics::gauge!("runlog_sqlite_unindexed_entries").set(self.unflushed.entries as f64);
        result.is_ok()
    }

    async fn flush_slice(
        &mut self,
        writer: &mut SqliteConnection,
        tail: &UnindexedTail,
        ids: &Ids,
    ) -> Result<(), StepError> {
        let Some(flush) = &mut self.flush else { return Ok(()) };
        if flush.slice(writer, tail, ids, self.slice).await? {
            self.unflushed.entries -= flush.takes.entries;
            self.unflushed.bytes -= flush.takes.bytes;
            self.flush = None;
        }
        Ok(())
    }

    async fn merge_slice(&mut self, writer: &mut SqliteConnection, ids: &Ids) -> Result<(), StepError> {
        let Some(mut merge) = self.merge.take() else { return Ok(()) };
        match merge.slice(writer, ids, self.slice.1).await {
            Ok(Some(removals)) => self.removals.extend(removals),
            Err(StepError::Content(error)) => {
                let (removal, unreadable) = merge.abandon();
                self.removals.push_back(removal);
                self.unreadable.extend(unreadable);
                return Err(error.into());
            }
            Ok(None) => self.merge = Some(merge),
            Err(error) => {
                self.merge = Some(merge);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn removal_slice(&mut self, writer: &mut SqliteConnection) -> Result<(), StepError> {
        let Some(removal) = self.removals.front_mut() else { return Ok(()) };
        if removal.slice(writer, self.slice.1).await? {
            self.removals.pop_front();
        }
        Ok(())
    }
}
