//! Work of the writer between commits: flush, compaction and removal of old segments, in slices of a few milliseconds.

pub mod backoff;
pub mod checkpointer;
pub mod flush_requests;
pub mod log_hold;
pub mod scrub;
pub mod transaction;
pub mod wal_preallocator;

use std::collections::VecDeque;

use sqlx::SqliteConnection;

use crate::domain::Error;

use super::error::StepError;
use super::index::flush::{Flush, SliceLimits, Unflushed};
use super::index::id_index::compaction::{Merge, Removal};
use super::index::id_index::{BLOCK_PLACES, Ids};
use super::index::unindexed_tail::UnindexedTail;
use crate::telemetry;
use backoff::Backoff;

/// Writes of one id in total, by its flush and all merges, in a store with some hundred million ids.
const ID_WRITES: usize = 6;

/// While flushes fail, commits continue until the unflushed end has this many times the size at which a flush is due.
/// The limit bounds memory and the time of a start, which reads the unflushed end.
const MAX_UNFLUSHED_TIMES: usize = 16;

/// Work in progress. The state is in memory only; after a restart the work starts over.
pub struct Maintenance {
    /// Size of the unflushed end of the log.
    pub unflushed: Unflushed,
    flush: Option<Flush>,
    merge: Option<Merge>,
    removals: VecDeque<Removal>,
    /// Source segments of merges that met damage; excluded from further merges.
    unreadable: Vec<i64>,
    next_segment: i64,
    max_unflushed_entries: usize,
    limits: SliceLimits,
    flush_backoff: Backoff,
    /// Backoff of merges and removals, which never delay a flush.
    merge_backoff: Backoff,
    /// Whether the last failed flush met a full disk.
    is_full: bool,
    /// Whether the next flush begins before it is due.
    pub is_flush_wanted: bool,
}

/// Entries and ids of one commit.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitSize {
    pub entries: usize,
    pub ids: usize,
}

/// Kind of work of one slice.
enum Step {
    Flush,
    Merge,
    Removal,
}

impl Maintenance {
    /// For a store just read from the file; `garbage` lists segments that are not live.
    pub fn new(
        unflushed: Unflushed,
        ids: &Ids,
        garbage: Vec<(i64, u32)>,
        max_unflushed_entries: usize,
        slice_entries: usize,
    ) -> Self {
        let segments = ids.segments();
        let numbers = segments.iter().map(|segment| segment.number).chain(garbage.iter().map(|(number, _)| *number));
        let next_segment = numbers.max().unwrap_or(0) + 1;
        let removals = garbage.into_iter().map(|(number, blocks)| Removal::new(number, blocks)).collect();
        let slice_blocks = u32::try_from(slice_entries.div_ceil(2)).unwrap_or(u32::MAX);
        Self {
            unflushed,
            flush: None,
            merge: None,
            removals,
            unreadable: Vec::new(),
            next_segment,
            max_unflushed_entries,
            limits: SliceLimits { entries: slice_entries, blocks: slice_blocks },
            flush_backoff: Backoff::new("flush"),
            merge_backoff: Backoff::new("merge"),
            is_full: false,
            is_flush_wanted: false,
        }
    }

    /// Whether work is due now; starts a due flush or merge.
    pub fn is_due(&mut self, tail: &UnindexedTail, ids: &Ids) -> bool {
        let is_wanted = self.is_flush_wanted && self.unflushed.entries > 0;
        if self.flush.is_none() && (is_wanted || self.unflushed.is_due(self.max_unflushed_entries, ids.recent_len(), 1))
        {
            self.is_flush_wanted = false;
            self.flush = Some(Flush::begin(tail, ids, self.unflushed, self.next_segment));
            self.next_segment += 1;
        }
        if self.flush.is_none() && self.merge.is_none() && self.removals.is_empty() {
            self.merge = Merge::due(&ids.segments(), &self.unreadable, self.next_segment);
            self.next_segment += i64::from(self.merge.is_some());
        }
        self.next_step().is_some()
    }

    /// The most urgent work that backoff allows.
    fn next_step(&self) -> Option<Step> {
        if self.flush.is_some() && self.flush_backoff.allows() {
            return Some(Step::Flush);
        }
        if !self.merge_backoff.allows() {
            return None;
        }
        if self.merge.is_some() { Some(Step::Merge) } else { (!self.removals.is_empty()).then_some(Step::Removal) }
    }

    /// Whether the unflushed end is so long that commits have to wait for slices.
    pub fn is_overdue(&self, ids: &Ids) -> bool {
        self.flush.is_some() && self.unflushed.is_due(self.max_unflushed_entries, ids.recent_len(), 2)
    }

    /// Error for all appends while flushes fail and the unflushed end has reached its limit.
    pub fn refusal(&self, ids: &Ids) -> Option<Error> {
        let is_at_bound = || self.unflushed.is_due(self.max_unflushed_entries, ids.recent_len(), MAX_UNFLUSHED_TIMES);
        let refusal = if self.is_full { Error::StoreFull } else { Error::StoreUnavailable };
        (self.flush_backoff.is_outage() && is_at_bound()).then_some(refusal)
    }

    /// Slices to run after a commit of this size, so that flushes and merges keep pace with any load.
    pub fn share(&self, commit: CommitSize) -> usize {
        let SliceLimits { entries, blocks } = self.limits;
        commit.entries.div_ceil(entries) + (commit.ids * ID_WRITES).div_ceil(blocks as usize * BLOCK_PLACES)
    }

    /// Runs one slice of the most urgent work; returns whether the slice succeeded. A failed slice changes nothing and
    /// is retried after a pause.
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
        telemetry::SQLITE_UNINDEXED_ENTRIES.set(self.unflushed.entries as u64);
        result.is_ok()
    }

    async fn flush_slice(
        &mut self,
        writer: &mut SqliteConnection,
        tail: &UnindexedTail,
        ids: &Ids,
    ) -> Result<(), StepError> {
        let Some(flush) = &mut self.flush else { return Ok(()) };
        if flush.slice(writer, tail, ids, self.limits).await? {
            self.unflushed.entries -= flush.takes.entries;
            self.unflushed.bytes -= flush.takes.bytes;
            self.flush = None;
        }
        Ok(())
    }

    async fn merge_slice(&mut self, writer: &mut SqliteConnection, ids: &Ids) -> Result<(), StepError> {
        let Some(mut merge) = self.merge.take() else { return Ok(()) };
        match merge.slice(writer, ids, self.limits.blocks).await {
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
        if removal.slice(writer, self.limits.blocks).await? {
            self.removals.pop_front();
        }
        Ok(())
    }
}
