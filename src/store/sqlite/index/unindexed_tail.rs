//! The unindexed tail: the end of the log that no index covers yet, by run, and the end of each run with unflushed
//! events.
//!
//! The writer adds the entries of a commit before the transaction, publishes the new ends of the runs after COMMIT, and
//! releases flushed entries. During a flush an entry may be both in the tail and in the index. A reader asks the
//! database for the end of the run first, then the tail, then the index. In this order the reader misses no committed
//! event and sees no uncommitted event, even if a commit fails or is in doubt.
//!
//! A commit writes the row of a run only if more than the last seq and the last time change. Both values are in the
//! log, and therefore in the tail until a flush writes them to the row.

use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::HashMap;
use jiff::Timestamp;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::domain::RunStatus;
use crate::store::commit::row_builder::RunSpan;
use crate::store::project::position_of;
use crate::store::{ProjectNumber, Range};

/// End of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// Last seq of the run.
    pub last_seq: u64,
    /// Time at which the last event was recorded.
    pub updated_at: Timestamp,
    /// Last seq of the run in the newest commit that wrote the run's row; 0 for none. A row with a lower last seq was
    /// read before that commit.
    pub row_seq: u64,
    /// Status of the run. The status is in the row, and a flush writes a checksum over status and end.
    pub status: RunStatus,
}

#[derive(Debug, Default)]
struct RunTail {
    entries: Vec<RunSpan>,
    /// Committed end of the run; `None` until the first commit with entries of the run.
    end: Option<RunEnd>,
}

/// Stored position of the last event of each project that has an event.
pub type LastPositions = std::collections::BTreeMap<ProjectNumber, u64>;

/// Entries that no index covers, shared by the writer and the readers.
#[derive(Debug, Default)]
pub struct UnindexedTail {
    by_run: RwLock<HashMap<i64, RunTail>>,
    last_pos: RwLock<LastPositions>,
    /// Stored positions up to which the log is flushed and released here.
    flushed: watch::Sender<LastPositions>,
    generation: AtomicU64,
}

impl UnindexedTail {
    /// Position of the last committed event in the feed of a project; 0 before the first event.
    pub fn last_position(&self, project: ProjectNumber) -> u64 {
        self.last_pos.read().get(&project).map_or(0, |pos| position_of(*pos))
    }

    /// Stored positions of the last committed events.
    pub fn last_positions(&self) -> LastPositions {
        self.last_pos.read().clone()
    }

    /// Stored positions up to which the log of each project is flushed: no entry of the tail, also none of a flush in progress,
    /// is about a row at or before them.
    pub fn flushed(&self) -> watch::Receiver<LastPositions> {
        self.flushed.subscribe()
    }

    /// First seq of a run in the tail, committed or not.
    pub fn first_seq(&self, run: i64) -> Option<u64> {
        self.by_run.read().get(&run)?.entries.first().map(|entry| entry.seq)
    }

    /// Changes with each release of entries. A reader that read a row before and the tail after such a change must read
    /// both again: values missing from the tail are in the row now.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Adds the entries of a commit before its transaction, in ascending order of seq for each run.
    pub fn push(&self, entries: impl IntoIterator<Item = (i64, RunSpan)>) {
        let mut by_run = self.by_run.write();
        for (run, entry) in entries {
            let of_run = &mut by_run.entry(run).or_default().entries;
            assert!(of_run.last().is_none_or(|last| last.last() < entry.seq), "a run's entries ascend");
            of_run.push(entry);
        }
    }

    /// Publishes the ends of runs and feeds after a commit.
    pub fn committed(
        &self,
        ends: impl IntoIterator<Item = (i64, RunEnd)>,
        last_pos: impl IntoIterator<Item = (ProjectNumber, u64)>,
    ) {
        let mut by_run = self.by_run.write();
        for (run, end) in ends {
            let of_run = &mut by_run.entry(run).or_default().end;
            let row_seq = of_run.map_or(0, |before| before.row_seq).max(end.row_seq);
            *of_run = Some(RunEnd { row_seq, ..end });
        }
        self.last_pos.write().extend(last_pos);
    }

    /// Committed end of a run; `None` if no committed entry of the run is unflushed.
    pub fn end(&self, run: i64) -> Option<RunEnd> {
        self.by_run.read().get(&run).and_then(|tail| tail.end)
    }

    /// Entries that a range of a run may need, up to `last_seq`, in reading order; and the first seq of the run in the
    /// tail, if any.
    pub fn entries(&self, run: i64, last_seq: u64, range: Range) -> (Option<u64>, Vec<RunSpan>) {
        let by_run = self.by_run.read();
        let all = by_run.get(&run).map_or(&[][..], |tail| tail.entries.as_slice());
        let committed = &all[..all.partition_point(|entry| entry.seq <= last_seq)];
        let first = committed.first().map(|entry| entry.seq);
        // Each entry holds at least one event, so `max_events` entries are enough.
        let wanted = if range.from.is_descending() {
            let before = &committed[..committed.partition_point(|entry| entry.seq <= range.from.highest())];
            before.iter().rev().take(range.max_events).cloned().collect()
        } else {
            let after = &committed[committed.partition_point(|entry| entry.last() < range.from.lowest())..];
            after.iter().take(range.max_events).cloned().collect()
        };
        (first, wanted)
    }

    /// The entry that covers this seq of a run, committed or not: for the writer only.
    pub fn find(&self, run: i64, seq: u64) -> Option<RunSpan> {
        let by_run = self.by_run.read();
        let all = by_run.get(&run)?.entries.as_slice();
        all.get(all.partition_point(|entry| entry.last() < seq)).filter(|entry| entry.seq <= seq).cloned()
    }

    /// Last seq of a run in rows at or before this stored position.
    pub fn last_seq_at(&self, run: i64, pos: u64) -> Option<u64> {
        let by_run = self.by_run.read();
        let all = by_run.get(&run)?.entries.as_slice();
        all[..all.partition_point(|entry| entry.row <= pos)].last().map(RunSpan::last)
    }

    /// All entries, sorted by run and seq, for a flush.
    pub fn sorted(&self) -> Vec<(i64, RunSpan)> {
        let by_run = self.by_run.read();
        let all = by_run.iter().flat_map(|(run, tail)| tail.entries.iter().map(|entry| (*run, entry.clone())));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(run, entry)| (*run, entry.seq));
        all
    }

    /// Releases the entries up to these positions: these are in the index, and the ends of their runs are in the rows.
    pub fn forget(&self, flushed: &LastPositions) {
        let mut by_run = self.by_run.write();
        by_run.retain(|run, tail| {
            let last = up_to(flushed, *run);
            tail.entries.drain(..tail.entries.partition_point(|entry| entry.row <= last));
            !tail.entries.is_empty()
        });
        self.generation.fetch_add(1, Ordering::AcqRel);
        drop(by_run);
        self.flushed.send_modify(|positions| positions.extend(flushed));
    }

    /// Removes the entries of a commit that did not happen; returns the number of removed entries.
    pub fn retract(&self) -> usize {
        let last_positions = self.last_positions();
        let mut retracted = 0;
        self.by_run.write().retain(|run, tail| {
            let last = up_to(&last_positions, *run);
            let committed = tail.entries.partition_point(|entry| entry.row <= last);
            retracted += tail.entries.len() - committed;
            tail.entries.truncate(committed);
            !tail.entries.is_empty()
        });
        retracted
    }

    /// Replaces the content by entries and ends read from the log, in one step for readers.
    pub fn replace(
        &self,
        entries: impl IntoIterator<Item = (i64, RunSpan)>,
        ends: impl IntoIterator<Item = (i64, RunEnd)>,
        last_positions: LastPositions,
        flushed: LastPositions,
    ) {
        let mut next: HashMap<i64, RunTail> = HashMap::default();
        for (run, entry) in entries {
            next.entry(run).or_default().entries.push(entry);
        }
        for (run, end) in ends {
            next.entry(run).or_default().end = Some(end);
        }
        let mut by_run = self.by_run.write();
        *by_run = next;
        self.generation.fetch_add(1, Ordering::AcqRel);
        *self.last_pos.write() = last_positions;
        drop(by_run);
        self.flushed.send_replace(flushed);
    }
}

/// Stored position of the last event of a run's project; 0: it has none.
fn up_to(last_positions: &LastPositions, run: i64) -> u64 {
    last_positions.get(&ProjectNumber::of_run(run)).copied().unwrap_or(0)
}
