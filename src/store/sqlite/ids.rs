//! Which events a run may already have under an id: promise 3, for as long as the events are kept.
//!
//! An id that the store gave tells where its event lies. An id that a producer gave is found by its hash: in memory for
//! the unsealed end of the log, in `event_ids` for all that lies before. Either way the answer is a candidate; the
//! event itself is read and compared.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use sqlx::SqliteConnection;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{EventId, Result};

use super::error::from_sqlx;

/// Ids of the unsealed end of the log, shared by the writer and the readers: by hash, the runs and seqs.
#[derive(Debug, Default)]
pub struct RecentIds(RwLock<HashMap<i64, Vec<(i64, u64)>>>);

/// The hash under which an id is stored.
pub fn hash(event_id: &EventId) -> i64 {
    xxh3_64(event_id.as_str().as_bytes()).cast_signed()
}

impl RecentIds {
    /// Adds the ids of a commit, as (run, hash, seq).
    pub fn extend(&self, ids: impl IntoIterator<Item = (i64, i64, u64)>) {
        let mut by_hash = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (run, hash, seq) in ids {
            by_hash.entry(hash).or_default().push((run, seq));
        }
    }

    /// Candidates under a hash, as (run, seq); of one run or of all.
    pub fn get(&self, run: Option<i64>, hash: i64) -> Vec<(i64, u64)> {
        let by_hash = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = by_hash.get(&hash).map_or(&[][..], Vec::as_slice);
        all.iter().filter(|(of_run, _)| run.is_none_or(|run| run == *of_run)).copied().collect()
    }

    /// All, as (hash, run, seq) in the order of the table that a seal fills.
    pub fn sorted(&self) -> Vec<(i64, i64, u64)> {
        let by_hash = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let all = by_hash.iter().flat_map(|(hash, places)| places.iter().map(|(run, seq)| (*hash, *run, *seq)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    }

    /// How many hashes there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets all: they are in the table now.
    pub fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Takes what was read from the log in place of what was known, in one step for the readers.
    pub fn replace(&self, ids: impl IntoIterator<Item = (i64, i64, u64)>) {
        let mut anew: HashMap<i64, Vec<(i64, u64)>> = HashMap::new();
        for (run, hash, seq) in ids {
            anew.entry(hash).or_default().push((run, seq));
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = anew;
    }
}

/// Candidates among the sealed ids, as (run, seq), for pairs of (run, hash).
pub async fn sealed(writer: &mut SqliteConnection, pairs: &[(i64, i64)]) -> Result<Vec<(i64, u64)>> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as::<_, (i64, i64)>(
        "SELECT e.run, e.seq FROM json_each(?) j CROSS JOIN event_ids e \
         ON e.hash = j.value ->> 1 AND e.run = j.value ->> 0",
    )
    .bind(serde_json::to_string(pairs).unwrap_or_default())
    .fetch_all(writer)
    .await
    .map_err(from_sqlx)?;
    Ok(rows.into_iter().map(|(run, seq)| (run, seq.unsigned_abs())).collect())
}
