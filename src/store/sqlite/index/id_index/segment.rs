//! Segments: flushed ids on disk, in immutable blocks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::SqliteConnection;
use tokio_stream::StreamExt;

use crate::domain::{Error, Result};
use crate::store::checksum::Checksum;

use super::block::{self, Place};
use super::filter::Filter;
use crate::store::sqlite::error::from_sqlx;

/// Most bytes of filters in memory, enough for 50 million ids. Beyond that the largest segments have no filter: each
/// lookup reads a block.
const MAX_FILTER_BYTES: usize = 64 << 20;

/// A complete segment; `blocks` and `places` are counts.
#[derive(Clone, Debug)]
pub struct Segment {
    pub number: i64,
    pub blocks: u32,
    pub places: u64,
    /// Newest run with an id in the segment; lookups for newer runs skip the segment.
    pub max_run: i64,
    pub filter: Option<Arc<Filter>>,
}

/// A row with a block, or with a part of a filter.
#[derive(sqlx::FromRow)]
pub struct BlockRow {
    /// Key of the block, see [`key`].
    pub block: i64,
    data: Vec<u8>,
    /// `None` in rows of an older version.
    checksum: Option<i64>,
}

/// Checksum of a block, or of a part of a filter.
pub fn checksum(key: i64, data: &[u8]) -> i64 {
    Checksum::default().number(key).bytes(data).finish()
}

/// Key and data after a check of the checksum. Rows of an older version have no checksum and pass.
///
/// # Errors
/// `StoreDamaged` for a wrong checksum: a damaged block may hide a stored id.
pub fn sound(row: BlockRow) -> Result<(i64, Vec<u8>)> {
    let BlockRow { block: key, data, checksum: stored } = row;
    if stored.is_none_or(|stored| stored == checksum(key, &data)) {
        return Ok((key, data));
    }
    tracing::error!(segment = key >> 32, block = key & 0xffff_ffff, "damaged: a block of ids, or of their filter");
    Err(Error::StoreDamaged)
}

/// Key of a block, and of the part of a filter that begins with this block.
pub fn key(segment: i64, block: u32) -> i64 {
    (segment << 32) | i64::from(block)
}

impl Segment {
    /// Checksum of the segment's row.
    pub fn checksum(&self, live: bool) -> i64 {
        let numbers = [self.number, i64::from(self.blocks), self.places.cast_signed(), self.max_run, i64::from(live)];
        numbers.into_iter().fold(Checksum::default(), Checksum::number).finish()
    }

    /// Key of the block to look into for a hash; `None` if the segment certainly has no such id (of this run, if
    /// given).
    pub fn candidate(&self, run: Option<i64>, hash: u64) -> Option<i64> {
        let may_hold = || self.filter.as_ref().is_none_or(|filter| filter.may_hold(hash, self.blocks));
        (run.is_none_or(|run| run <= self.max_run) && may_hold())
            .then(|| key(self.number, block::of_hash(hash, self.blocks)))
    }

    fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, |filter| filter.bytes())
    }
}

/// Drops filters above the memory limit, the largest first.
pub fn bound_filters(segments: &mut [Segment]) {
    let mut bytes: usize = segments.iter().map(Segment::filter_bytes).sum();
    while bytes > MAX_FILTER_BYTES {
        let Some(largest) = segments.iter_mut().max_by_key(|segment| segment.filter_bytes()) else { return };
        bytes -= largest.filter_bytes();
        largest.filter = None;
    }
}

/// Finds places in these segments, for pairs of run (if known) and hash. Fails with `StoreDamaged` for a missing block;
/// for a reader the cause may also be a compaction in between.
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
        const BLOCKS: &str =
            "SELECT block, data, checksum FROM id_blocks WHERE block IN (SELECT value FROM json_each(?))";
        let blocks: Vec<BlockRow> = sqlx::query_as(BLOCKS)
            .bind(serde_json::to_string(keys).unwrap_or_default())
            .fetch_all(&mut *connection)
            .await
            .map_err(from_sqlx)?;
        if blocks.len() != keys.len() {
            return Err(Error::StoreDamaged);
        }
        for row in blocks {
            let (key, data) = sound(row)?;
            let wanted = &by_block[&key];
            let is_wanted = |place: &Place| {
                wanted.iter().any(|(run, hash)| *hash == place.hash && run.is_none_or(|r| r == place.run))
            };
            found.extend(block::places(&data)?.filter(is_wanted));
        }
    }
    Ok(found)
}

/// Most blocks in memory at once during a lookup.
const MAX_BLOCKS_READ: usize = 2_048;

/// A row of `id_segments`.
#[derive(sqlx::FromRow)]
struct SegmentRow {
    segment: i64,
    blocks: i64,
    places: i64,
    max_run: i64,
    live: bool,
    /// `None` in rows of an older version.
    checksum: Option<i64>,
}

/// Loads the complete segments, and number and block count of each segment that is unfinished or replaced.
pub async fn load(connection: &mut SqliteConnection) -> Result<(Vec<Segment>, Vec<(i64, u32)>)> {
    const SEGMENTS: &str = "SELECT segment, blocks, places, max_run, live, checksum FROM id_segments ORDER BY places";
    let rows: Vec<SegmentRow> = sqlx::query_as(SEGMENTS).fetch_all(&mut *connection).await.map_err(from_sqlx)?;
    let (mut segments, mut garbage, mut filter_bytes) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        let SegmentRow { segment: number, max_run, live, checksum, .. } = row;
        let blocks = u32::try_from(row.blocks).map_err(|_| Error::StoreDamaged)?;
        let mut segment = Segment { number, blocks, places: row.places.unsigned_abs(), max_run, filter: None };
        if checksum.is_some_and(|checksum| checksum != segment.checksum(live)) {
            tracing::error!(segment = number, "damaged: the row of a segment of ids");
            return Err(Error::StoreDamaged);
        }
        if !live {
            garbage.push((number, blocks));
            continue;
        }
        if filter_bytes < MAX_FILTER_BYTES {
            // Without a filter each lookup reads a block, which has a checksum of its own.
            segment.filter = load_filter(connection, &segment).await?.map(Arc::new);
            filter_bytes += segment.filter_bytes();
        }
        segments.push(segment);
    }
    bound_filters(&mut segments);
    Ok((segments, garbage))
}

/// Names each segment with a damaged block or a damaged part of its filter.
pub async fn damaged(connection: &mut SqliteConnection) -> Result<Vec<String>> {
    let mut damaged = BTreeSet::new();
    for (name, all) in [
        ("ids", "SELECT block, data, checksum FROM id_blocks"),
        ("filter of ids", "SELECT part AS block, data, checksum FROM id_filters"),
    ] {
        let mut rows = sqlx::query_as::<_, BlockRow>(all).fetch(&mut *connection);
        while let Some(row) = rows.next().await {
            let row = row.map_err(from_sqlx)?;
            let segment = row.block >> 32;
            if sound(row).is_err() {
                damaged.insert(format!("{name} of segment {segment}"));
            }
        }
    }
    Ok(damaged.into_iter().collect())
}

/// Filter of a segment; `None` for a damaged filter.
async fn load_filter(connection: &mut SqliteConnection, segment: &Segment) -> Result<Option<Filter>> {
    const PARTS: &str =
        "SELECT part AS block, data, checksum FROM id_filters WHERE part >= ? AND part < ? ORDER BY part";
    let parts: Vec<BlockRow> = sqlx::query_as(PARTS)
        .bind(key(segment.number, 0))
        .bind(key(segment.number + 1, 0))
        .fetch_all(connection)
        .await
        .map_err(from_sqlx)?;
    let mut filter = Filter::with_room(segment.blocks);
    for part in parts {
        match sound(part).and_then(|(_, data)| filter.push_part(&data)) {
            Ok(()) => {}
            Err(_) => return Ok(None),
        }
    }
    if !filter.is_for(segment.blocks) {
        tracing::error!(segment = segment.number, "damaged: the filter of a segment is cut off");
        return Ok(None);
    }
    Ok(Some(filter))
}
