//! The end of the log that the indexes do not cover yet, by run, and how far each run goes.
//!
//! The writer adds the entries of a commit before it commits, says after the commit how far the runs go now, and takes
//! away what it has flushed after that; while a flush is under way, its part of the tail may be in the index as well. So a reader that asks the database first how far the run goes, the tail second, and
//! the index third misses nothing that was committed and sees nothing that was not, also when a commit fails or its
//! outcome is unknown.
//!
//! A commit writes the row of a run only when more than its last seq and its last time change; those two are in the log
//! and so here, until a flush writes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::HashMap;
use jiff::Timestamp;

use crate::domain::RunStatus;
use crate::store::Range;
use crate::store::commit::row_builder::RunSpan;

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunEnd {
    /// Its last seq.
    pub last_seq: u64,
    /// When that was recorded.
    pub updated_at: Timestamp,
    /// Its last seq in the last commit that wrote its row: a row that says less was read before that commit.
    pub row_seq: u64,
    /// The run's status, which is in its row: a flush writes the checksum over both.
    pub status: RunStatus,
}

/// The unflushed part of a run.
#[derive(Debug, Default)]
struct RunTail {
    entries: Vec<RunSpan>,
    /// What is committed; `None` while its first commit is under way.
    end: Option<RunEnd>,
}

/// What no index covers, shared by the writer and the readers.
#[derive(Debug, Default)]
pub struct UnindexedTail {
    by_run: RwLock<HashMap<i64, RunTail>>,
    last_position: AtomicU64,
    generation: AtomicU64,
}

impl UnindexedTail {
    /// Position of the last committed event; 0 before the first.
    pub fn last_position(&self) -> u64 {
        self.last_position.load(Ordering::Acquire)
    }

    /// Changes whenever something is taken away. Who read a row before that and the tail after it reads again: what the
    /// tail had to say about the row is in the row now.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Adds what one commit is about to write, entries of a run in the order of their seqs.
    pub fn push(&self, entries: impl IntoIterator<Item = (i64, RunSpan)>) {
        let mut by_run = self.write();
        for (run, entry) in entries {
            let of_run = &mut by_run.entry(run).or_default().entries;
            assert!(of_run.last().is_none_or(|last| last.last() < entry.seq), "a run's entries ascend");
            of_run.push(entry);
        }
    }

    /// The commit is durable: these runs and the feed end here now.
    pub fn committed(&self, ends: impl IntoIterator<Item = (i64, RunEnd)>, last_position: u64) {
        let mut by_run = self.write();
        for (run, end) in ends {
            let of_run = &mut by_run.entry(run).or_default().end;
            let row_seq = of_run.map_or(0, |before| before.row_seq).max(end.row_seq);
            *of_run = Some(RunEnd { row_seq, ..end });
        }
        self.last_position.store(last_position, Ordering::Release);
    }

    /// How far the run goes, if it has anything unflushed.
    pub fn end(&self, run: i64) -> Option<RunEnd> {
        self.read().get(&run).and_then(|tail| tail.end)
    }

    /// The entries that a range of a run may need, up to `last_seq`, in reading order; and the first seq that is not in
    /// the index, if any.
    pub fn entries(&self, run: i64, last_seq: u64, range: Range) -> (Option<u64>, Vec<RunSpan>) {
        let by_run = self.read();
        let all = by_run.get(&run).map_or(&[][..], |tail| tail.entries.as_slice());
        let committed = &all[..all.partition_point(|entry| entry.seq <= last_seq)];
        let first = committed.first().map(|entry| entry.seq);
        // Each entry holds at least one event, so more entries than events are never needed.
        let wanted = if range.descending {
            let before = &committed[..committed.partition_point(|entry| entry.seq < range.from)];
            before.iter().rev().take(range.max_events).cloned().collect()
        } else {
            let after = &committed[committed.partition_point(|entry| entry.last() <= range.from)..];
            after.iter().take(range.max_events).cloned().collect()
        };
        (first, wanted)
    }

    /// The entry that covers this seq of a run. Only for the writer, who knows what is committed.
    pub fn find(&self, run: i64, seq: u64) -> Option<RunSpan> {
        let by_run = self.read();
        let all = by_run.get(&run)?.entries.as_slice();
        all.get(all.partition_point(|entry| entry.last() < seq)).filter(|entry| entry.seq <= seq).cloned()
    }

    /// The last seq of a run in rows at or before this position.
    pub fn last_seq_at(&self, run: i64, position: u64) -> Option<u64> {
        let by_run = self.read();
        let all = by_run.get(&run)?.entries.as_slice();
        all[..all.partition_point(|entry| entry.row <= position)].last().map(RunSpan::last)
    }

    /// All entries, by run and seq: what a flush writes.
    pub fn sorted(&self) -> Vec<(i64, RunSpan)> {
        let by_run = self.read();
        let all = by_run.iter().flat_map(|(run, tail)| tail.entries.iter().map(|entry| (*run, entry.clone())));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(run, entry)| (*run, entry.seq));
        all
    }

    /// Forgets the entries up to this position: they are in the index, and how far their runs go is in the rows.
    pub fn forget(&self, last_position: u64) {
        let mut by_run = self.write();
        by_run.retain(|_, tail| {
            tail.entries.drain(..tail.entries.partition_point(|entry| entry.row <= last_position));
            !tail.entries.is_empty()
        });
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes back what was pushed for a commit that did not happen; returns how many entries.
    pub fn retract(&self) -> usize {
        let last_position = self.last_position();
        let mut retracted = 0;
        self.write().retain(|_, tail| {
            let committed = tail.entries.partition_point(|entry| entry.row <= last_position);
            retracted += tail.entries.len() - committed;
            tail.entries.truncate(committed);
            !tail.entries.is_empty()
        });
        retracted
    }

    /// Takes what was read from the log in place of what was known, in one step for the readers.
    pub fn replace(
        &self,
        entries: impl IntoIterator<Item = (i64, RunSpan)>,
        ends: impl IntoIterator<Item = (i64, RunEnd)>,
        last_position: u64,
    ) {
        let mut anew: HashMap<i64, RunTail> = HashMap::default();
        for (run, entry) in entries {
            anew.entry(run).or_default().entries.push(entry);
        }
        for (run, end) in ends {
            anew.entry(run).or_default().end = Some(end);
        }
        let mut by_run = self.write();
        *by_run = anew;
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.last_position.store(last_position, Ordering::Release);
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<i64, RunTail>> {
        self.by_run.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<i64, RunTail>> {
        self.by_run.write().unwrap_or_else(PoisonError::into_inner)
    }
}
