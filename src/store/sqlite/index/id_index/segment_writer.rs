//! Writes a segment in slices, each in a transaction of the caller. The last slice makes the segment live; an
//! unfinished segment left by a crash is removed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::domain::Error;

use super::block::{self, Place};
use super::filter::Filter;
use super::segment::{self, Segment};
use crate::store::sqlite::error::StepError;

/// Source of the ids of a new segment.
pub enum Source {
    /// Frozen ids of the memtable, sorted.
    Recent(Arc<Vec<Place>>),
    /// Segments to merge.
    Segments(Vec<Segment>),
    /// Table of the first schema.
    Legacy,
}

/// A segment in progress, as far as committed.
pub struct Build {
    segment: Segment,
    next_block: u32,
    filter: Filter,
    source: Source,
}

/// A block within the data of a slice: key, first byte (from 1), length, checksum.
type Cut = (i64, usize, usize, i64);

/// Content of one slice. Belongs to the segment once the slice is committed.
pub struct Part {
    end: u32,
    places: u64,
    max_run: i64,
    filter: Filter,
    is_last: bool,
}

impl Part {
    /// Whether this part completes the segment.
    pub fn is_last(&self) -> bool {
        self.is_last
    }
}

impl Build {
    /// A new segment with an unused number, for this many ids.
    pub fn new(number: i64, places: u64, source: Source) -> Self {
        let blocks = block::blocks_for(places);
        let segment = Segment { number, blocks, places: 0, max_run: 0, filter: None };
        Self { segment, next_block: 0, filter: Filter::with_room(blocks), source }
    }

    /// Number of the segment, and number of committed blocks.
    pub fn written(&self) -> (i64, u32) {
        (self.segment.number, self.next_block)
    }

    /// Writes the next blocks, at most `max_blocks`. A slice with a failed COMMIT is written again, even if the COMMIT
    /// took place and only the reply was lost.
    pub async fn write(&self, transaction: &mut SqliteConnection, max_blocks: u32) -> Result<Part, StepError> {
        let Segment { number, blocks, .. } = self.segment;
        let first = self.next_block;
        let end = first.saturating_add(max_blocks).min(blocks);
        if first == 0 {
            const BEGIN: &str = "INSERT OR REPLACE INTO id_segments (segment, blocks, places, max_run, live, checksum) VALUES (?, ?, 0, 0, 0, ?)";
            let empty = Segment { places: 0, max_run: 0, ..self.segment.clone() };
            let begin = sqlx::query(BEGIN).bind(number).bind(i64::from(blocks)).bind(empty.checksum(false));
            begin.execute(&mut *transaction).await?;
        }
        let (low, high) = block::hashes(first, end, blocks);
        let places = self.source.between(transaction, low, high).await?;
        let (part, data, cuts) = self.encode(&places, end);
        // One parameter for all blocks: the number of blocks varies from slice to slice, and the statement stays the
        // same.
        const BLOCKS: &str = "INSERT OR REPLACE INTO id_blocks (block, data, checksum)
            SELECT value ->> 0, substr(?1, value ->> 1, value ->> 2), value ->> 3 FROM json_each(?2)";
        let cuts = serde_json::to_string(&cuts).unwrap_or_default();
        sqlx::query(BLOCKS).bind(data).bind(cuts).execute(&mut *transaction).await?;
        failpoint!("sqlite-segment-inside", StepError::from);
        let (key, filter) = (segment::key(number, first), part.filter.to_bytes());
        let checksum = segment::checksum(key, &filter);
        let lines = sqlx::query("INSERT OR REPLACE INTO id_filters (part, data, checksum) VALUES (?, ?, ?)");
        let lines = lines.bind(key).bind(filter).bind(checksum);
        lines.execute(&mut *transaction).await?;
        if part.is_last {
            let segment = Segment { places: part.places, max_run: part.max_run, ..self.segment.clone() };
            const LIVE: &str =
                "UPDATE id_segments SET live = 1, places = ?, max_run = ?, checksum = ? WHERE segment = ?";
            let live = sqlx::query(LIVE)
                .bind(part.places.cast_signed())
                .bind(part.max_run)
                .bind(segment.checksum(true))
                .bind(number);
            live.execute(transaction).await?;
        }
        Ok(part)
    }

    /// Records a committed part; returns the segment if the part completes the segment.
    pub fn advance(&mut self, part: Part) -> Option<Segment> {
        let Part { end, places, max_run, filter, is_last } = part;
        (self.next_block, self.segment.places, self.segment.max_run) = (end, places, max_run);
        self.filter.append(filter);
        is_last.then(|| {
            let filter = Some(Arc::new(std::mem::take(&mut self.filter)));
            Segment { filter, ..self.segment.clone() }
        })
    }

    /// Encodes the next part, up to block `end`, and concatenates the part's blocks.
    fn encode(&self, places: &[Place], end: u32) -> (Part, Vec<u8>, Vec<Cut>) {
        let Segment { number, blocks, .. } = self.segment;
        let (mut data, mut cuts, mut rest) = (Vec::new(), Vec::new(), places);
        let mut filter = Filter::with_room(end - self.next_block);
        for block in self.next_block..end {
            let (here, after) =
                rest.split_at(rest.partition_point(|place| block::of_hash(place.hash, blocks) <= block));
            rest = after;
            let start = data.len();
            here.iter().for_each(|place| block::push(&mut data, *place));
            let key = segment::key(number, block);
            cuts.push((key, start + 1, data.len() - start, segment::checksum(key, &data[start..])));
            filter.push_line(here.iter().map(|place| place.hash));
        }
        let max_run = places.iter().map(|place| place.run).fold(self.segment.max_run, i64::max);
        let places = self.segment.places + places.len() as u64;
        (Part { end, places, max_run, filter, is_last: end == blocks }, data, cuts)
    }
}

impl Source {
    /// The places with hashes from `low` to `high`, sorted.
    async fn between(&self, transaction: &mut SqliteConnection, low: u64, high: u64) -> Result<Vec<Place>, StepError> {
        match self {
            Self::Recent(places) => {
                let first = places.partition_point(|place| place.hash < low);
                let end = places.partition_point(|place| place.hash <= high);
                Ok(places[first..end].to_vec())
            }
            Self::Segments(segments) => {
                let mut places = Vec::new();
                for of in segments {
                    const BLOCKS: &str =
                        "SELECT block, data, checksum FROM id_blocks WHERE block >= ? AND block <= ? ORDER BY block";
                    let (first, last) = (block::of_hash(low, of.blocks), block::of_hash(high, of.blocks));
                    let blocks: Vec<segment::BlockRow> = sqlx::query_as(BLOCKS)
                        .bind(segment::key(of.number, first))
                        .bind(segment::key(of.number, last))
                        .fetch_all(&mut *transaction)
                        .await?;
                    if blocks.len() as u64 != u64::from(last - first) + 1 {
                        tracing::error!(segment = of.number, "damaged: a segment of ids lacks blocks");
                        return Err(Error::StoreDamaged.into());
                    }
                    for stored in blocks {
                        let (_, data) = segment::sound(stored)?;
                        places.extend(block::places(&data)?.filter(|place| (low..=high).contains(&place.hash)));
                    }
                }
                // A stable sort on purpose: fast on a few sorted lists one after the other.
                places.sort();
                remove_expired(transaction, &mut places).await?;
                Ok(places)
            }
            Self::Legacy => super::table_v1::between(transaction, low, high).await,
        }
    }
}

/// Removes the places of events that retention has removed from the begin of their runs.
async fn remove_expired(transaction: &mut SqliteConnection, places: &mut Vec<Place>) -> Result<(), StepError> {
    const ANY: &str = "SELECT EXISTS (SELECT 1 FROM feed_floors)";
    if !sqlx::query_scalar::<_, bool>(ANY).fetch_one(&mut *transaction).await? {
        return Ok(());
    }
    let runs: BTreeSet<i64> = places.iter().map(|place| place.run).collect();
    const FIRST: &str =
        "SELECT run, first_seq FROM json_each(?) j CROSS JOIN runs ON run = j.value WHERE first_seq > 1";
    let first = sqlx::query_as::<_, (i64, i64)>(FIRST).bind(serde_json::to_string(&runs).unwrap_or_default());
    let first: HashMap<i64, i64> = first.fetch_all(transaction).await?.into_iter().collect();
    places.retain(|place| first.get(&place.run).is_none_or(|first| place.seq >= first.unsigned_abs()));
    Ok(())
}
