//! Memtable: ids of the unflushed end of the log.

use std::sync::Arc;

use foldhash::HashMap;

use super::block::Place;

/// Active ids by hash, and the frozen ids of the running flush, sorted.
#[derive(Debug, Default)]
pub struct Recent {
    by_hash: HashMap<u64, (i64, u64)>,
    /// Further places under a hash of `by_hash`: the same id in other runs, or ids with equal hashes.
    others: HashMap<u64, Vec<(i64, u64)>>,
    frozen: Arc<Vec<Place>>,
}

impl Recent {
    pub fn add(&mut self, Place { hash, run, seq }: Place) {
        use std::collections::hash_map::Entry::{Occupied, Vacant};
        match self.by_hash.entry(hash) {
            Vacant(free) => drop(free.insert((run, seq))),
            Occupied(_) => self.others.entry(hash).or_default().push((run, seq)),
        }
    }

    /// All places under a hash, active and frozen.
    pub fn get(&self, hash: u64) -> impl Iterator<Item = Place> {
        let first = self.by_hash.get(&hash);
        let others = self.others.get(&hash).into_iter().flatten();
        let frozen = &self.frozen[self.frozen.partition_point(|place| place.hash < hash)..];
        let frozen = frozen.iter().take_while(move |place| place.hash == hash).copied();
        first.into_iter().chain(others).map(move |(run, seq)| Place { hash, run: *run, seq: *seq }).chain(frozen)
    }

    /// Number of different hashes added since the last freeze.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Freezes the active ids, sorted, until [`release`](Self::release).
    pub fn freeze(&mut self) -> Arc<Vec<Place>> {
        assert!(self.frozen.is_empty(), "one flush at a time");
        let mut places = self.take();
        places.sort_unstable();
        self.frozen = Arc::new(places);
        Arc::clone(&self.frozen)
    }

    /// Keeps the matching active ids only.
    pub fn retain(&mut self, is_kept: impl Fn(&Place) -> bool) {
        self.take().into_iter().filter(is_kept).for_each(|place| self.add(place));
    }

    /// Removes and returns the active ids.
    fn take(&mut self) -> Vec<Place> {
        let others = self.others.drain().flat_map(|(hash, all)| all.into_iter().map(move |place| (hash, place)));
        let places = self.by_hash.drain().chain(others);
        places.map(|(hash, (run, seq))| Place { hash, run, seq }).collect()
    }

    /// Releases the frozen ids, which are in a segment now.
    pub fn release(&mut self) {
        self.frozen = Arc::default();
    }
}
