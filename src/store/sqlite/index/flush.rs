//! Flush: moves the unflushed end of the log into the indexes and the rows of runs. Entries are written in the order of
//! the index, so that each page of an index is written once for many entries instead of once for each.
//!
//! A flush covers all entries that are unflushed at its begin, and writes them in slices between commits. Written
//! entries stay in the tail until the last slice records the flushed position. So readers find an entry in the tail, in
//! the index or in both, and a start after a crash repeats the flush.

use std::sync::Arc;

use sqlx::SqliteConnection;

use crate::store::ProjectNumber;
use crate::store::commit::row_builder::RunSpan;
use crate::store::run_row::checksums;

use super::id_index::Ids;
use super::id_index::segment_writer::{Build, Part, Source};
use super::unindexed_tail::{LastPositions, UnindexedTail};
use crate::store::sqlite::error::StepError;
use crate::store::sqlite::maintenance::transaction;
use crate::store::sqlite::projects;
use crate::store::sqlite::read::view_flag::ViewFlag;

/// Bytes of unflushed log from which a flush is due, since a start has to read the unflushed end.
const MAX_UNFLUSHED_BYTES: usize = 64 << 20;

/// Unflushed ids from which a flush is due.
const MAX_UNFLUSHED_IDS: usize = 65_536;

/// Size of the unflushed end of the log: index entries, and bytes of log rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unflushed {
    pub entries: usize,
    pub bytes: usize,
}

impl Unflushed {
    /// Whether a flush is due; with `times` 2 or more, whether the flush is overdue.
    pub fn is_due(&self, max_entries: usize, ids: usize, times: usize) -> bool {
        self.entries >= max_entries.saturating_mul(times)
            || self.bytes >= MAX_UNFLUSHED_BYTES * times
            || ids >= MAX_UNFLUSHED_IDS * times
    }
}

/// Most entries and blocks of ids in one slice of work.
#[derive(Clone, Copy, Debug)]
pub struct SliceLimits {
    pub entries: usize,
    pub blocks: u32,
}

/// A flush in progress.
pub struct Flush {
    /// Last stored position that the flush covers, of each project with an entry.
    last_positions: LastPositions,
    /// Size of the part of the unflushed end that the flush covers.
    pub takes: Unflushed,
    /// Entries to write, by run and seq.
    entries: Vec<(i64, RunSpan)>,
    written: usize,
    ids: Option<Build>,
}

impl Flush {
    /// Starts a flush of the whole unflushed end. `segment` is the number of the new segment of ids.
    pub fn begin(tail: &UnindexedTail, ids: &Ids, takes: Unflushed, segment: i64) -> Self {
        let places = ids.freeze();
        let build = Build::new(segment, places.len() as u64, Source::Recent(Arc::clone(&places)));
        let ids = (!places.is_empty()).then_some(build);
        let (mut last_positions, entries) = (tail.last_positions(), tail.sorted());
        // Sorted by run, so the runs of a project are neighbours.
        let mut with_entries: Vec<ProjectNumber> = entries.iter().map(|(run, _)| ProjectNumber::of_run(*run)).collect();
        with_entries.dedup();
        last_positions.retain(|project, _| with_entries.binary_search(project).is_ok());
        Self { last_positions, takes, entries, written: 0, ids }
    }

    /// Writes the next entries or, after the last entry, blocks of ids. Returns whether the flush is complete; the tail
    /// and the memtable then release the flushed entries. After an error the same slice is next.
    pub async fn slice(
        &mut self,
        writer: &mut SqliteConnection,
        tail: &UnindexedTail,
        ids: &Ids,
        limits: SliceLimits,
    ) -> Result<bool, StepError> {
        let end = self.entries.len().min(self.written + limits.entries);
        // A slice that is not full of entries has room for a share of the ids.
        let share = limits.entries - (end - self.written);
        let room = u32::try_from(share * limits.blocks as usize / limits.entries).unwrap_or(limits.blocks);
        failpoint!("sqlite-flush-before", StepError::from);
        transaction::begin(writer).await?;
        let written = self.write(writer, tail, end, room).await;
        let (part, is_last) = transaction::end(writer, written).await?;
        if is_last {
            failpoint!("sqlite-flush-after", StepError::from);
        }
        self.written = end;
        let segment = self.ids.as_mut().zip(part).and_then(|(build, part)| build.advance(part));
        if is_last {
            tail.forget(&self.last_positions);
            if let Some(segment) = segment {
                ids.complete(segment, &[]);
            }
        }
        Ok(is_last)
    }

    /// Writes the entries up to `end`, then blocks of ids after the last entry, and finally the flushed position.
    async fn write(
        &self,
        transaction: &mut SqliteConnection,
        tail: &UnindexedTail,
        end: usize,
        max_blocks: u32,
    ) -> Result<(Option<Part>, bool), StepError> {
        let entries = &self.entries[self.written..end];
        write_entries(transaction, entries).await?;
        failpoint!("sqlite-flush-inside", StepError::from);
        write_ends(transaction, tail, entries).await?;
        let has_entries = end < self.entries.len();
        let part = match &self.ids {
            Some(build) if !has_entries && max_blocks > 0 => Some(build.write(transaction, max_blocks).await?),
            _ => None,
        };
        let is_last = !has_entries && (self.ids.is_none() || part.as_ref().is_some_and(Part::is_last));
        if is_last {
            for (project, pos) in &self.last_positions {
                projects::write_flushed(transaction, *project, *pos).await?;
            }
            failpoint!("sqlite-flush-end", StepError::from);
        }
        Ok((part, is_last))
    }
}

/// Ignores conflicts: an interrupted flush may have written some of the same entries.
pub async fn write_entries(transaction: &mut SqliteConnection, entries: &[(i64, RunSpan)]) -> Result<(), StepError> {
    if entries.is_empty() {
        return Ok(());
    }
    const ROW: &str = "(?, ?, ?, ?, ?, ?, ?)";
    let sql = format!(
        "INSERT INTO run_index (run, seq, count, pos, start, length, sensitive) VALUES {} ON CONFLICT DO NOTHING",
        vec![ROW; entries.len()].join(", ")
    );
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
    for (run, entry) in entries {
        query = query
            .bind(run)
            .bind(entry.seq.cast_signed())
            .bind(entry.count)
            .bind(entry.row.cast_signed())
            .bind(entry.start)
            .bind(entry.length)
            .bind(ViewFlag::of(entry.sensitive));
    }
    query.execute(transaction).await?;
    Ok(())
}

/// Writes the present ends of the entries' runs. An end may lie past the entries if events arrived after the flush
/// began.
async fn write_ends(
    transaction: &mut SqliteConnection,
    tail: &UnindexedTail,
    entries: &[(i64, RunSpan)],
) -> Result<(), StepError> {
    let runs = entries.chunk_by(|(one, _), (other, _)| one == other).map(|entries| entries[0].0);
    let ends = runs.filter_map(|run| {
        let end = tail.end(run)?;
        let updated_at = end.updated_at.to_string();
        let status = i64::from(end.status as u8);
        let checksum = checksums::of_end(run, status, end.last_seq.cast_signed(), &updated_at);
        Some((run, end.last_seq, updated_at, checksum))
    });
    let ends: Vec<(i64, u64, String, i64)> = ends.collect();
    const ENDS: &str =
        "UPDATE runs SET last_seq = j.value ->> 1, updated_at = j.value ->> 2, end_checksum = j.value ->> 3
        FROM json_each(?) j WHERE runs.run = j.value ->> 0";
    let ends = sqlx::query(ENDS).bind(serde_json::to_string(&ends).unwrap_or_default());
    ends.execute(transaction).await?;
    Ok(())
}
