//! Which events a run may already have under an id: promise 3, for as long as the events are kept.
//!
//! An id that the store gave tells where its event lies. An id that a producer gave is found by its hash: in memory for
//! the unflushed end of the log, in segments for all that lies before. Either way the answer is a candidate; the event
//! itself is read and compared.
//!
//! Ids come in no order, so an index that is kept in order on the disk would write a page for each. A flush writes its
//! ids as a segment of their own instead, and segments of like size are merged, each id a few times in all.
//!
//! | file | what |
//! |---|---|
//! | `recent` | the ids in memory |
//! | `block`, `filter`, `segment` | how flushed ids lie on the disk, and how they are found |
//! | `build` | writing a segment, slice by slice |
//! | `merge` | which segments become one, and the removal of what they were |
//! | `legacy` | the ids of stores that kept them in a table |

pub mod backfill_v1;
mod block;
pub mod compaction;
mod filter;
mod memtable;
mod segment;
pub mod segment_writer;

use std::sync::{Arc, PoisonError, RwLock};

use sqlx::SqliteConnection;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{EventId, Result};

use super::unindexed_tail::UnindexedTail;
pub use block::{BLOCK_PLACES, Place};
use memtable::Recent;
pub use segment::{Segment, damaged, load};

/// The hash under which an id is stored.
pub fn hash(event_id: &EventId) -> u64 {
    xxh3_64(event_id.as_str().as_bytes())
}

/// All ids, shared by the writer and the readers.
#[derive(Debug, Default)]
pub struct Ids {
    recent: RwLock<Recent>,
    segments: RwLock<Arc<Vec<Segment>>>,
}

impl Ids {
    /// Adds the ids of a commit.
    pub fn extend(&self, places: impl IntoIterator<Item = Place>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        places.into_iter().for_each(|place| recent.add(place));
    }

    /// Candidates in memory under a hash; of one run or of all.
    pub fn recent(&self, run: Option<i64>, hash: u64) -> Vec<Place> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.get(hash).filter(|place| run.is_none_or(|run| run == place.run)).collect()
    }

    /// How many came since the last flush began.
    pub fn recent_len(&self) -> usize {
        self.recent.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Candidates among the flushed ids, for pairs of a run, if it is known, and a hash.
    pub async fn flushed(
        &self,
        connection: &mut SqliteConnection,
        wanted: impl Iterator<Item = (Option<i64>, u64)> + Clone,
    ) -> Result<Vec<Place>> {
        loop {
            let segments = self.segments();
            let found = segment::find(connection, &segments, wanted.clone()).await;
            // A reader's segments may have been merged and removed while it looked.
            if Arc::ptr_eq(&segments, &self.segments()) {
                return found;
            }
        }
    }

    /// Whether a flushed id of this run may have this hash. To be asked after [`recent`](Self::recent).
    pub fn may_be_flushed(&self, run: i64, hash: u64) -> bool {
        self.segments().iter().any(|segment| segment.candidate(Some(run), hash).is_some())
    }

    /// The segments that are complete.
    pub fn segments(&self) -> Arc<Vec<Segment>> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the ids of the unflushed end aside, to be written as a segment.
    pub fn freeze(&self) -> Arc<Vec<Place>> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner).freeze()
    }

    /// A segment is complete; it has the ids of these, or without any the frozen ones.
    pub fn complete(&self, segment: Segment, instead_of: &[i64]) {
        {
            let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
            let mut anew: Vec<Segment> =
                segments.iter().filter(|segment| !instead_of.contains(&segment.number)).cloned().collect();
            anew.push(segment);
            segment::bound_filters(&mut anew);
            *segments = Arc::new(anew);
        }
        // Last: who looks in memory first and at the segments second finds them in one of both.
        if instead_of.is_empty() {
            self.recent.write().unwrap_or_else(PoisonError::into_inner).release();
        }
    }

    /// Takes back the ids of a commit that did not happen: those that the committed end of their run does not reach.
    pub fn retract(&self, tail: &UnindexedTail) {
        let is_committed = |place: &Place| tail.end(place.run).is_some_and(|committed| place.seq <= committed.last_seq);
        self.recent.write().unwrap_or_else(PoisonError::into_inner).retain(is_committed);
    }

    /// Takes what was read from the file in place of what was known, each in one step for the readers.
    pub fn replace(&self, places: impl IntoIterator<Item = Place>, segments: Vec<Segment>) {
        let mut anew = Recent::default();
        places.into_iter().for_each(|place| anew.add(place));
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(segments);
        *self.recent.write().unwrap_or_else(PoisonError::into_inner) = anew;
    }
}
