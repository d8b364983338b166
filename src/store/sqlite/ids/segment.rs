//! Segments: sealed ids on the disk, in blocks that never change.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::domain::{Error, Result};

use super::super::error::from_sqlx;
use super::block::{self, Place};
use super::filter::Filter;

/// Bytes of filters in memory, enough for 50 million ids. Beyond, the largest segments go without: a look into them reads
/// a block.
const MAX_FILTER_BYTES: usize = 64 << 20;

/// A segment that is complete.
#[derive(Clone, Debug)]
pub struct Segment {
    pub number: i64,
    pub blocks: u32,
    pub places: u64,
    /// The newest run that has an id in it: newer runs need not look.
    pub max_run: i64,
    pub filter: Option<Arc<Filter>>,
}

/// The key of a block, or of the part of a filter that begins with it.
pub fn key(segment: i64, block: u32) -> i64 {
    (segment << 32) | i64::from(block)
}

impl Segment {
    /// The key of the block that would hold the hash; `None` when the segment does not hold it, of this run if one is given.
    pub fn candidate(&self, run: Option<i64>, hash: u64) -> Option<i64> {
        let may_hold = || self.filter.as_ref().is_none_or(|filter| filter.may_hold(hash, self.blocks));
        (run.is_none_or(|run| run <= self.max_run) && may_hold())
            .then(|| key(self.number, block::of_hash(hash, self.blocks)))
    }

    fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, |filter| filter.bytes())
    }
}

/// Lets go of the filters that are over the bound, the largest first.
pub fn bound_filters(segments: &mut [Segment]) {
    let mut bytes: usize = segments.iter().map(Segment::filter_bytes).sum();
    while bytes > MAX_FILTER_BYTES {
        let Some(largest) = segments.iter_mut().max_by_key(|segment| segment.filter_bytes()) else { return };
        bytes -= largest.filter_bytes();
        largest.filter = None;
    }
}

/// Finds places among these segments, for pairs of a run, if it is known, and a hash. Fails with `StoreDamaged` where a
/// block is not there, for a reader also when the segments have been merged meanwhile.
pub async fn find(
    connection: &mut SqliteConnection,
    segments: &[Segment],
    wanted: impl Iterator<Item = (Option<i64>, u64)>,
) -> Result<Vec<Place>> {
    let mut by_block: HashMap<i64, Vec<(Option<i64>, u64)>> = HashMap::new();
    for (run, hash) in wanted {
        for key in segments.iter().filter_map(|segment| segment.candidate(run, hash)) {
            by_block.entry(key).or_default().push((run, hash));
        }
    }
    let mut found = Vec::new();
    if by_block.is_empty() {
        return Ok(found);
    }
    let mut keys: Vec<i64> = by_block.keys().copied().collect();
    keys.sort_unstable();
    for keys in keys.chunks(MAX_BLOCKS_READ) {
        let blocks: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT block, data FROM id_blocks WHERE block IN (SELECT value FROM json_each(?))")
                .bind(serde_json::to_string(keys).unwrap_or_default())
                .fetch_all(&mut *connection)
                .await
                .map_err(from_sqlx)?;
        if blocks.len() != keys.len() {
            return Err(Error::StoreDamaged);
        }
        for (key, data) in blocks {
            let wanted = &by_block[&key];
            let is_wanted = |place: &Place| {
                wanted.iter().any(|(run, hash)| *hash == place.hash && run.is_none_or(|r| r == place.run))
            };
            found.extend(block::places(&data)?.filter(is_wanted));
        }
    }
    Ok(found)
}

/// Blocks that are in memory at once while ids are looked up.
const MAX_BLOCKS_READ: usize = 2_048;

/// What the file holds: the segments that are complete, and the numbers and blocks of those that are not, or no longer.
pub async fn load(connection: &mut SqliteConnection) -> Result<(Vec<Segment>, Vec<(i64, u32)>)> {
    let rows: Vec<(i64, i64, i64, i64, bool)> =
        sqlx::query_as("SELECT segment, blocks, places, max_run, live FROM id_segments ORDER BY places")
            .fetch_all(&mut *connection)
            .await
            .map_err(from_sqlx)?;
    let (mut segments, mut garbage, mut filter_bytes) = (Vec::new(), Vec::new(), 0);
    for (number, blocks, places, max_run, live) in rows {
        let blocks = u32::try_from(blocks).map_err(|_| Error::StoreDamaged)?;
        if !live {
            garbage.push((number, blocks));
            continue;
        }
        let mut segment = Segment { number, blocks, places: places.unsigned_abs(), max_run, filter: None };
        if filter_bytes < MAX_FILTER_BYTES {
            segment.filter = Some(Arc::new(load_filter(connection, &segment).await?));
            filter_bytes += segment.filter_bytes();
        }
        segments.push(segment);
    }
    bound_filters(&mut segments);
    Ok((segments, garbage))
}

async fn load_filter(connection: &mut SqliteConnection, segment: &Segment) -> Result<Filter> {
    let parts: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT data FROM id_filters WHERE part >= ? AND part < ? ORDER BY part")
            .bind(key(segment.number, 0))
            .bind(key(segment.number + 1, 0))
            .fetch_all(connection)
            .await
            .map_err(from_sqlx)?;
    let mut filter = Filter::with_room(segment.blocks);
    for part in parts {
        filter.push_part(&part)?;
    }
    if !filter.is_for(segment.blocks) {
        tracing::error!(segment = segment.number, "the filter of a segment is cut off");
        return Err(Error::StoreDamaged);
    }
    Ok(filter)
}
