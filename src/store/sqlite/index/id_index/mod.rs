//! Index of event ids. A publish with the id of a stored event of the run is a duplicate, for as long as the events are
//! kept.
//!
//! Ids assigned by the store encode run and seq. Ids from producers are found by hash: in the memtable for the
//! unflushed end of the log, in segments for all earlier events. Either way the result is a candidate; the event itself
//! is read and compared.
//!
//! Ids arrive in random order, so a sorted table on disk would write a page for each id. Instead a flush writes its ids
//! as a new segment, and compaction merges segments of similar size, so that each id is written a few times in total.
//!
//! | file | content |
//! |---|---|
//! | `memtable` | ids of the unflushed end, in memory |
//! | `block`, `filter`, `segment` | format of flushed ids on disk, and lookup |
//! | `segment_writer` | writes a segment, slice by slice |
//! | `compaction` | choice and merge of segments, removal of replaced segments |
//! | `backfill_v1`, `table_v1` | moves the ids of the first schema, a sorted table, into a segment |

pub mod backfill_v1;
mod block;
pub mod compaction;
mod filter;
mod memtable;
mod segment;
pub mod segment_writer;
mod table_v1;

use std::sync::Arc;

use parking_lot::RwLock;
use sqlx::SqliteConnection;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{EventId, Result};

use super::unindexed_tail::UnindexedTail;
pub use block::{BLOCK_PLACES, Place};
use memtable::Recent;
pub use segment::{Segment, damaged, load};

/// XXH3 hash of an id, the key of the index.
pub fn hash(event_id: &EventId) -> u64 {
    xxh3_64(event_id.as_str().as_bytes())
}

/// The index, shared by the writer and the readers.
#[derive(Debug, Default)]
pub struct Ids {
    recent: RwLock<Recent>,
    segments: RwLock<Arc<Vec<Segment>>>,
}

impl Ids {
    pub fn extend(&self, places: impl IntoIterator<Item = Place>) {
        let mut recent = self.recent.write();
        places.into_iter().for_each(|place| recent.add(place));
    }

    /// Candidates in the memtable; of one run, or of all runs.
    pub fn recent(&self, run: Option<i64>, hash: u64) -> Vec<Place> {
        let recent = self.recent.read();
        recent.get(hash).filter(|place| run.is_none_or(|run| run == place.run)).collect()
    }

    /// Hashes added since the last flush began.
    pub fn recent_len(&self) -> usize {
        self.recent.read().len()
    }

    /// Candidates among the flushed ids, for pairs of run (if known) and hash.
    pub async fn flushed(
        &self,
        connection: &mut SqliteConnection,
        wanted: impl Iterator<Item = (Option<i64>, u64)> + Clone,
    ) -> Result<Vec<Place>> {
        loop {
            let segments = self.segments();
            let found = segment::find(connection, &segments, wanted.clone()).await;
            // Compaction may have removed a reader's segments during the lookup.
            if Arc::ptr_eq(&segments, &self.segments()) {
                return found;
            }
        }
    }

    /// Whether a flushed id of this run may have this hash. Call after [`recent`](Self::recent), so that no id slips
    /// through a flush in between.
    pub fn may_be_flushed(&self, run: i64, hash: u64) -> bool {
        self.segments().iter().any(|segment| segment.candidate(Some(run), hash).is_some())
    }

    pub fn segments(&self) -> Arc<Vec<Segment>> {
        Arc::clone(&self.segments.read())
    }

    /// Freezes the ids of the unflushed end, for a segment.
    pub fn freeze(&self) -> Arc<Vec<Place>> {
        self.recent.write().freeze()
    }

    /// Adds a complete segment in place of the segments `instead_of`; without any, in place of the frozen ids.
    pub fn complete(&self, segment: Segment, instead_of: &[i64]) {
        {
            let mut segments = self.segments.write();
            let mut live: Vec<Segment> =
                segments.iter().filter(|segment| !instead_of.contains(&segment.number)).cloned().collect();
            live.push(segment);
            segment::bound_filters(&mut live);
            *segments = Arc::new(live);
        }
        // Released last: a reader that asks the memtable first and the segments second finds each id.
        if instead_of.is_empty() {
            self.recent.write().release();
        }
    }

    /// Removes the ids of a commit that did not happen: ids past the committed end of their run.
    pub fn retract(&self, tail: &UnindexedTail) {
        let is_committed = |place: &Place| tail.end(place.run).is_some_and(|committed| place.seq <= committed.last_seq);
        self.recent.write().retain(is_committed);
    }

    /// Replaces memtable and segments by the content of the file, each in one step for readers.
    pub fn replace(&self, places: impl IntoIterator<Item = Place>, segments: Vec<Segment>) {
        let mut next = Recent::default();
        places.into_iter().for_each(|place| next.add(place));
        *self.segments.write() = Arc::new(segments);
        *self.recent.write() = next;
    }
}
