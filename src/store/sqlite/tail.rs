//! The end of the log that the indexes do not cover yet, by run.
//!
//! The writer adds the entries of a commit before it commits and takes away what it has sealed after that. So a reader
//! that asks the database first how far the run goes, copies the tail second (up to there), and asks the index third
//! misses nothing that was committed and sees nothing that was not, also when a commit fails or its outcome is unknown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::store::Range;
use crate::store::layout::Entry;

/// The unsealed entries, shared by the writer and the readers.
#[derive(Debug, Default)]
pub struct Tail {
    by_run: RwLock<HashMap<i64, Vec<Entry>>>,
    last_position: AtomicU64,
}

impl Tail {
    /// Position of the last committed event; 0 before the first.
    pub fn last_position(&self) -> u64 {
        self.last_position.load(Ordering::Acquire)
    }

    /// Adds what one commit is about to write, entries of a run in the order of their seqs.
    pub fn push(&self, entries: impl IntoIterator<Item = (i64, Entry)>) {
        let mut by_run = self.by_run.write().unwrap_or_else(PoisonError::into_inner);
        for (run, entry) in entries {
            let of_run = by_run.entry(run).or_default();
            assert!(of_run.last().is_none_or(|last| last.last() < entry.seq), "a run's entries ascend");
            of_run.push(entry);
        }
    }

    /// The commit is durable: the feed ends here now.
    pub fn committed(&self, last_position: u64) {
        self.last_position.store(last_position, Ordering::Release);
    }

    /// The entries that a range of a run may need, up to the run's last committed seq, in reading order; and the first
    /// seq that is not in the index, if any.
    pub fn entries(&self, run: i64, last_seq: u64, range: Range) -> (Option<u64>, Vec<Entry>) {
        let by_run = self.by_run.read().unwrap_or_else(PoisonError::into_inner);
        let all = by_run.get(&run).map_or(&[][..], Vec::as_slice);
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
    pub fn find(&self, run: i64, seq: u64) -> Option<Entry> {
        let by_run = self.by_run.read().unwrap_or_else(PoisonError::into_inner);
        let all = by_run.get(&run)?;
        all.get(all.partition_point(|entry| entry.last() < seq)).filter(|entry| entry.seq <= seq).cloned()
    }

    /// All entries, by run and seq: what a seal writes.
    pub fn sorted(&self) -> Vec<(i64, Entry)> {
        let by_run = self.by_run.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            by_run.iter().flat_map(|(run, entries)| entries.iter().map(|entry| (*run, entry.clone()))).collect();
        all.sort_unstable_by_key(|(run, entry)| (*run, entry.seq));
        all
    }

    /// Forgets all entries: they are in the index now.
    pub fn clear(&self) {
        self.by_run.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes what was read from the log in place of what was known, in one step for the readers.
    pub fn replace(&self, entries: impl IntoIterator<Item = (i64, Entry)>, last_position: u64) {
        let mut anew: HashMap<i64, Vec<Entry>> = HashMap::new();
        for (run, entry) in entries {
            anew.entry(run).or_default().push(entry);
        }
        *self.by_run.write().unwrap_or_else(PoisonError::into_inner) = anew;
        self.committed(last_position);
    }
}
