//! Which events a run may already have under an id: promise 3, for as long as the events are kept.
//!
//! An id that the store gave tells where its event lies. An id that a producer gave is found by its hash: in memory for
//! the unsealed end of the log, in `event_ids` for all that lies before. Either way the answer is a candidate; the
//! event itself is read and compared.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use sqlx::SqliteConnection;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{EventId, Result};

use super::error::from_sqlx;

/// Id of an event that the producer gave none: UUID version 8 that holds the run's number (48 bits), the seq (40 bits),
/// and 34 bits of chance so that it cannot be guessed from its neighbours.
pub fn assigned(run: i64, seq: u64) -> EventId {
    let chance = Uuid::new_v4().as_u128();
    let run_bits = u128::from(run.unsigned_abs() & 0xffff_ffff_ffff);
    let seq_bits = u128::from(seq & 0xff_ffff_ffff);
    let bits = run_bits << 80 | (chance & 0xfff) << 64 | seq_bits << 22 | (chance >> 96 & 0x3f_ffff);
    let id = uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid();
    EventId::parse(&id.hyphenated().to_string()).unwrap_or_else(|_| unreachable!("a UUID is a valid event id"))
}

/// Where the event lies if the store gave this id to an event of this run.
pub fn assigned_seq(run: i64, event_id: &EventId) -> Option<u64> {
    let id = Uuid::try_parse(event_id.as_str()).ok().filter(|id| id.get_version_num() == 8)?;
    let bits = id.as_u128();
    let of_run = (bits >> 80) == u128::from(run.unsigned_abs() & 0xffff_ffff_ffff);
    of_run.then(|| u64::try_from(bits >> 22 & 0xff_ffff_ffff).unwrap_or(0)).filter(|seq| *seq > 0)
}

/// Which run and seq, if the store gave this id.
pub fn assigned_place(event_id: &EventId) -> Option<(i64, u64)> {
    let id = Uuid::try_parse(event_id.as_str()).ok().filter(|id| id.get_version_num() == 8)?;
    let run = i64::try_from(id.as_u128() >> 80).ok()?;
    assigned_seq(run, event_id).map(|seq| (run, seq))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assigned_id_tells_its_place_and_only_in_its_run() {
        for (run, seq) in [(1, 1), (77, 300), (0xffff_ffff_ffff, 0xff_ffff_ffff)] {
            let id = assigned(run, seq);
            assert_eq!(assigned_seq(run, &id), Some(seq));
            assert_eq!(assigned_seq(run - 1, &id), None);
            assert_eq!(assigned_place(&id), Some((run, seq)));
        }
        assert_ne!(assigned(1, 1), assigned(1, 1));
        assert_eq!(assigned_seq(1, &EventId::parse("e-1").unwrap()), None);
        assert_eq!(assigned_seq(0, &EventId::parse(&Uuid::now_v7().to_string()).unwrap()), None);
    }
}
