//! Compaction: merges segments of similar size, so that a lookup has few segments to check, and removes the replaced
//! segments.

use sqlx::SqliteConnection;

use super::Ids;
use super::segment::{self, Segment};
use super::segment_writer::{Build, Part, Source};
use crate::store::sqlite::error::StepError;
use crate::store::sqlite::maintenance::transaction;

/// Segments of similar size in one merge. An id is written once for each power of this number in the count of all ids.
const FAN_IN: usize = 4;

/// Ids up to which segments count as small; all small segments have one size class.
const SMALL: u64 = 16_384;

/// A merge in progress.
pub struct Merge {
    build: Build,
    sources: Vec<Segment>,
}

impl Merge {
    /// The due merge of the smallest size class, if any. `number` is the number of the new segment. Unreadable segments
    /// are excluded.
    pub fn due(segments: &[Segment], unreadable: &[i64], number: i64) -> Option<Self> {
        let segments = || segments.iter().filter(|segment| !unreadable.contains(&segment.number));
        let class = |segment: &Segment| (segment.places / SMALL).max(1).ilog(FAN_IN as u64);
        let of = |wanted: u32| segments().filter(move |segment| class(segment) == wanted);
        let smallest = segments().map(class).filter(|wanted| of(*wanted).count() >= FAN_IN).min()?;
        let sources: Vec<Segment> = of(smallest).cloned().collect();
        let places = sources.iter().map(|segment| segment.places).sum();
        Some(Self { build: Build::new(number, places, Source::Segments(sources.clone())), sources })
    }

    /// Abandons a merge with a damaged source. Returns the removal of the unfinished segment, and the sources to
    /// exclude from later merges.
    pub fn abandon(self) -> (Removal, Vec<i64>) {
        let (number, blocks) = self.build.written();
        (Removal::new(number, blocks), self.sources.into_iter().map(|segment| segment.number).collect())
    }

    /// Merges the next blocks, at most `max_blocks`. Returns the removals of the sources once the merge is complete.
    pub async fn slice(
        &mut self,
        writer: &mut SqliteConnection,
        ids: &Ids,
        max_blocks: u32,
    ) -> Result<Option<Vec<Removal>>, StepError> {
        let numbers: Vec<i64> = self.sources.iter().map(|segment| segment.number).collect();
        failpoint!("sqlite-merge-before", StepError::from);
        transaction::begin(writer).await?;
        let written = self.write(writer, &self.sources, max_blocks).await;
        let part = transaction::end(writer, written).await?;
        failpoint!("sqlite-merge-after", StepError::from);
        Ok(self.build.advance(part).map(|segment| {
            ids.complete(segment, &numbers);
            self.sources.iter().map(|segment| Removal::new(segment.number, segment.blocks)).collect()
        }))
    }

    async fn write(
        &self,
        transaction: &mut SqliteConnection,
        sources: &[Segment],
        max_blocks: u32,
    ) -> Result<Part, StepError> {
        let part = self.build.write(transaction, max_blocks).await?;
        if part.is_last() {
            failpoint!("sqlite-merge-inside", StepError::from);
            let dead: Vec<(i64, i64)> = sources.iter().map(|of| (of.number, of.checksum(false))).collect();
            const DEAD: &str = "UPDATE id_segments SET live = 0, checksum = j.value ->> 1 \
                FROM json_each(?) j WHERE segment = j.value ->> 0";
            let dead = sqlx::query(DEAD).bind(serde_json::to_string(&dead).unwrap_or_default());
            dead.execute(transaction).await?;
        }
        Ok(part)
    }
}

/// Removal of a segment that is not live.
pub struct Removal {
    number: i64,
    blocks: u32,
    next_block: u32,
}

/// Blocks removed in a slice for each block written in a slice: a removal only frees pages, so its slices may be
/// larger.
const REMOVED_FOR_WRITTEN: u32 = 4;

impl Removal {
    pub fn new(number: i64, blocks: u32) -> Self {
        Self { number, blocks, next_block: 0 }
    }

    /// Removes the next blocks; returns whether the removal is complete.
    pub async fn slice(&mut self, writer: &mut SqliteConnection, max_blocks: u32) -> Result<bool, StepError> {
        let end = self.next_block.saturating_add(max_blocks.saturating_mul(REMOVED_FOR_WRITTEN)).min(self.blocks);
        failpoint!("sqlite-removal-before", StepError::from);
        transaction::begin(writer).await?;
        let removed = self.remove(writer, end).await;
        transaction::end(writer, removed).await?;
        failpoint!("sqlite-removal-after", StepError::from);
        self.next_block = end;
        Ok(end == self.blocks)
    }

    async fn remove(&self, transaction: &mut SqliteConnection, end: u32) -> Result<(), StepError> {
        let (from, to) = (segment::key(self.number, self.next_block), segment::key(self.number, end));
        for table in [
            "DELETE FROM id_blocks WHERE block >= ? AND block < ?",
            "DELETE FROM id_filters WHERE part >= ? AND part < ?",
        ] {
            sqlx::query(table).bind(from).bind(to).execute(&mut *transaction).await?;
        }
        failpoint!("sqlite-removal-inside", StepError::from);
        if end == self.blocks {
            let delete = sqlx::query("DELETE FROM id_segments WHERE segment = ?").bind(self.number);
            delete.execute(transaction).await?;
        }
        Ok(())
    }
}
