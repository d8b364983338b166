//! Writes a segment, slice by slice, each in a transaction of the caller's. Until the last one it is not live, and what a
//! crash leaves of it is removed.

use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::domain::Result;

use super::super::error::from_sqlx;
use super::block::{self, Place};
use super::filter::Filter;
use super::segment::{self, Segment};

/// Where the ids of a new segment come from.
pub enum Source {
    /// Memory, in order.
    Recent(Arc<Vec<Place>>),
    /// Segments that become one.
    Segments(Vec<Segment>),
    /// The table of an older schema.
    Legacy,
}

/// A segment in the making.
pub struct Build {
    segment: Segment,
    next_block: u32,
    filter: Filter,
    source: Source,
}

impl Build {
    /// A segment with this number, which no other has, of so many ids.
    pub fn new(number: i64, places: u64, source: Source) -> Self {
        let blocks = block::blocks_for(places);
        let segment = Segment { number, blocks, places: 0, max_run: 0, filter: None };
        Self { segment, next_block: 0, filter: Filter::with_room(blocks), source }
    }

    /// Writes the next blocks, at most so many; returns the segment when it is complete with them.
    pub async fn write(&mut self, transaction: &mut SqliteConnection, max_blocks: u32) -> Result<Option<Segment>> {
        let Segment { number, blocks, .. } = self.segment;
        let first = self.next_block;
        let end = first.saturating_add(max_blocks).min(blocks);
        if first == 0 {
            const BEGIN: &str =
                "INSERT INTO id_segments (segment, blocks, places, max_run, live) VALUES (?, ?, 0, 0, 0)";
            let begin = sqlx::query(BEGIN).bind(number).bind(i64::from(blocks));
            begin.execute(&mut *transaction).await.map_err(from_sqlx)?;
        }
        let (low, high) = block::hashes(first, end, blocks);
        let places = self.source.between(transaction, low, high).await?;
        let (data, cuts) = self.lay_out(&places, first, end);
        // One parameter for all blocks: their number differs from slice to slice, the statement does not.
        const BLOCKS: &str = "INSERT INTO id_blocks (block, data)
            SELECT value ->> 0, substr(?1, value ->> 1, value ->> 2) FROM json_each(?2)";
        let cuts = serde_json::to_string(&cuts).unwrap_or_default();
        sqlx::query(BLOCKS).bind(data).bind(cuts).execute(&mut *transaction).await.map_err(from_sqlx)?;
        let part = sqlx::query("INSERT INTO id_filters (part, data) VALUES (?, ?)")
            .bind(segment::key(number, first))
            .bind(self.filter.part(first));
        part.execute(&mut *transaction).await.map_err(from_sqlx)?;
        self.next_block = end;
        if end < blocks {
            return Ok(None);
        }
        let live = sqlx::query("UPDATE id_segments SET live = 1, places = ?, max_run = ? WHERE segment = ?")
            .bind(self.segment.places.cast_signed())
            .bind(self.segment.max_run)
            .bind(number);
        live.execute(transaction).await.map_err(from_sqlx)?;
        let filter = Some(Arc::new(std::mem::take(&mut self.filter)));
        Ok(Some(Segment { filter, ..self.segment.clone() }))
    }

    /// The bytes of blocks, with the key, the first byte (from 1) and the length of each.
    fn lay_out(&mut self, places: &[Place], first: u32, end: u32) -> (Vec<u8>, Vec<(i64, usize, usize)>) {
        let (mut data, mut cuts, mut rest) = (Vec::new(), Vec::new(), places);
        for number in first..end {
            let (here, after) =
                rest.split_at(rest.partition_point(|place| block::of_hash(place.hash, self.segment.blocks) <= number));
            rest = after;
            let start = data.len();
            here.iter().for_each(|place| block::push(&mut data, *place));
            cuts.push((segment::key(self.segment.number, number), start + 1, data.len() - start));
            self.filter.push_line(here.iter().map(|place| place.hash));
        }
        self.segment.places += places.len() as u64;
        self.segment.max_run = places.iter().map(|place| place.run).fold(self.segment.max_run, i64::max);
        (data, cuts)
    }
}

impl Source {
    /// The places with these hashes, in order.
    async fn between(&self, transaction: &mut SqliteConnection, low: u64, high: u64) -> Result<Vec<Place>> {
        match self {
            Self::Recent(places) => {
                let first = places.partition_point(|place| place.hash < low);
                let end = places.partition_point(|place| place.hash <= high);
                Ok(places[first..end].to_vec())
            }
            Self::Segments(segments) => {
                let mut places = Vec::new();
                for of in segments {
                    let blocks: Vec<Vec<u8>> =
                        sqlx::query_scalar("SELECT data FROM id_blocks WHERE block >= ? AND block <= ? ORDER BY block")
                            .bind(segment::key(of.number, block::of_hash(low, of.blocks)))
                            .bind(segment::key(of.number, block::of_hash(high, of.blocks)))
                            .fetch_all(&mut *transaction)
                            .await
                            .map_err(from_sqlx)?;
                    for data in blocks {
                        places.extend(block::places(&data)?.filter(|place| (low..=high).contains(&place.hash)));
                    }
                }
                // Stable on purpose: it takes what is in order already as it is.
                places.sort();
                Ok(places)
            }
            Self::Legacy => super::legacy::between(transaction, low, high).await,
        }
    }
}
