//! Pages of a run and of the feed. Events never change, so the statements of one page need no common snapshot.

mod fill;
pub mod find;
pub mod index_row;
mod run_filter;
pub mod runs;
pub mod usage;
pub mod view_flag;

use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};
use tokio_stream::StreamExt;

use crate::codec::Chunk;
use crate::domain::{Error, Result, RunStatus};
use crate::store::checksum::damaged_events;
use crate::store::commit::row_builder::RunSpan;
use crate::store::project::position_of;
use crate::store::{Page, ProjectNumber, Range, ReadFrom, RunKey, ScopeEnd};

use super::error::from_sqlx;
use super::log_row::{self, Loaded, LogRow, log_columns};

use super::index::unindexed_tail::UnindexedTail;
use fill::{Fill, follows, trim};
use index_row::{IndexRow, index_columns};

/// Reads a page of one run.
pub async fn run_page(readers: &SqlitePool, tail: &UnindexedTail, key: &RunKey, range: Range) -> Result<Page> {
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    // Order matters: end of the run, tail, index, see `unindexed_tail`. The end may be older than the last chunk, never
    // newer.
    let (run, scope_end) = runs::scope_end(&mut reader, tail, key).await?;
    let run_id = key.run_id.as_str();
    let entries = entries(&mut reader, tail, run, run_id, scope_end.last, range).await?;
    let Loaded { chunks, damaged } = log_row::load(&mut reader, Some(run_id), &entries).await?;
    // Events before the damage are served; the next page fails.
    match damaged {
        Some(damaged) if chunks.is_empty() => Err(damaged),
        _ => Ok(Page { chunks: trim(chunks, range)?, scope_end, first: 1 }),
    }
}

/// Record of a run at this seq; `None` if the run has no such seq.
pub async fn record_at(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    run: i64,
    seq: u64,
) -> Result<Option<Bytes>> {
    let (last_seq, stored) = loop {
        let generation = tail.generation();
        let in_row: Option<(i64, String)> = sqlx::query_as("SELECT last_seq, run_id FROM runs WHERE run = ?")
            .bind(run)
            .fetch_optional(&mut *reader)
            .await
            .map_err(from_sqlx)?;
        let Some((in_row, stored)) = in_row else { return Ok(None) };
        let last_seq = tail.end(run).map_or(0, |end| end.last_seq).max(in_row.unsigned_abs());
        if tail.generation() == generation {
            break (last_seq, stored);
        }
    };
    if !(1..=last_seq).contains(&seq) {
        return Ok(None);
    }
    let run_id = RunKey::from_stored(&stored).ok_or(Error::StoreDamaged)?.run_id;
    let range = Range { from: ReadFrom::After(seq - 1), max_events: 1, max_bytes: 0 };
    let entries = entries(reader, tail, run, run_id.as_str(), last_seq, range).await?;
    let Loaded { chunks, damaged } = log_row::load(reader, Some(run_id.as_str()), &entries).await?;
    let chunk = trim(chunks, range)?.into_iter().next();
    let record = chunk.and_then(|chunk| chunk.records().next());
    let (_, record) = record.ok_or_else(|| damaged.unwrap_or(Error::StoreDamaged))??;
    Ok(Some(record))
}

/// Last seq of the run at or before this position of the feed. `position` must not lie inside a log row.
pub async fn last_seq_at(readers: &SqlitePool, tail: &UnindexedTail, key: &RunKey, position: u64) -> Result<u64> {
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    let (run, _) = runs::scope_end(&mut reader, tail, key).await?;
    let pos = key.project.pos(position);
    // Tail before index, see `unindexed_tail`.
    let unflushed = tail.last_seq_at(run, pos);
    const FLUSHED: &str = "SELECT seq + count - 1 FROM run_index WHERE run = ? AND pos <= ? ORDER BY seq DESC LIMIT 1";
    let flushed: Option<i64> = sqlx::query_scalar(FLUSHED)
        .bind(run)
        .bind(pos.cast_signed())
        .fetch_optional(&mut *reader)
        .await
        .map_err(from_sqlx)?;
    Ok(unflushed.unwrap_or(0).max(flushed.unwrap_or(0).unsigned_abs()))
}

/// Entries of the range, in reading order and without a gap. `last_seq` is the last seq of the run.
async fn entries(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    run: i64,
    run_id: &str,
    last_seq: u64,
    range: Range,
) -> Result<Vec<RunSpan>> {
    let (mut found, is_full) = find(reader, tail, run, last_seq, range).await?;
    let is_descending = range.from.is_descending();
    let mut next = if is_descending { range.from.highest().min(last_seq) } else { range.from.lowest() };
    let mut covered = 0;
    for entry in &found {
        // Descending, the first entries may lie after the `last_seq` read before.
        let is_behind = is_descending && entry.seq > next;
        if !is_behind && !(entry.seq..=entry.last()).contains(&next) {
            break;
        }
        next = if is_descending { next.min(entry.seq - 1) } else { entry.last() + 1 };
        covered += 1;
    }
    let is_end = next == 0 || next > last_seq;
    if covered == 0 && !is_end {
        damaged_events(Some(run_id), Some(next), 0, "the index of a run");
        return Err(Error::EventDamaged { run_id: Some(run_id.to_owned()), seqs: Some((next, next)) });
    }
    if covered < found.len() || !(is_full || is_end) {
        tracing::error!(run = run_id, seq = next, "damaged: the index of a run lacks events");
    }
    found.truncate(covered);
    Ok(found)
}

/// Entries of the range in tail and index, and whether these fill the range.
async fn find(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    run: i64,
    last_seq: u64,
    range: Range,
) -> Result<(Vec<RunSpan>, bool)> {
    // Tail before index, see `unindexed_tail`.
    let (first_unflushed, unflushed) = tail.entries(run, last_seq, range);
    let mut fill = Fill::new(range);
    let mut found: Vec<RunSpan> = Vec::new();
    let take = |entry: RunSpan, fill: &mut Fill, found: &mut Vec<RunSpan>| {
        if fill.wants(entry.seq, entry.last()) {
            fill.add(entry.seq, entry.last(), entry.length as usize);
            found.push(entry);
        }
        fill.is_full()
    };
    if range.from.is_descending() {
        for entry in unflushed {
            if take(entry, &mut fill, &mut found) {
                return Ok((found, true));
            }
        }
        let highest = found.last().map_or(range.from.highest(), |entry| entry.seq - 1);
        let mut rows = sqlx::query_as::<_, IndexRow>(concat!(
            "SELECT ",
            index_columns!(),
            " FROM run_index WHERE run = ? AND seq <= ? ORDER BY seq DESC LIMIT ?"
        ))
        .bind(run)
        .bind(signed(highest))
        .bind(most_rows(range))
        .fetch(&mut *reader);
        while let Some(row) = rows.next().await {
            let Some(entry) = row.map_err(from_sqlx)?.into_entry() else { break };
            if take(entry, &mut fill, &mut found) {
                break;
            }
        }
        return Ok((found, fill.is_full()));
    }
    let is_in_tail = first_unflushed.is_some_and(|first| first <= range.from.lowest());
    if !is_in_tail {
        let mut rows = sqlx::query_as::<_, IndexRow>(concat!(
            "SELECT ",
            index_columns!(),
            " FROM run_index WHERE run = ?1 AND seq >= \
             coalesce((SELECT max(seq) FROM run_index WHERE run = ?1 AND seq <= ?2), 0) ORDER BY seq LIMIT ?3"
        ))
        .bind(run)
        .bind(signed(range.from.lowest()))
        .bind(most_rows(range))
        .fetch(&mut *reader);
        while let Some(row) = rows.next().await {
            let Some(entry) = row.map_err(from_sqlx)?.into_entry() else { return Ok((found, false)) };
            if take(entry, &mut fill, &mut found) {
                return Ok((found, true));
            }
        }
    }
    let after = found.last().map_or(0, RunSpan::last);
    for entry in unflushed.into_iter().filter(|entry| entry.seq > after) {
        if take(entry, &mut fill, &mut found) {
            break;
        }
    }
    Ok((found, fill.is_full()))
}

/// Reads a page of the feed of a project.
pub async fn feed_page(
    readers: &SqlitePool,
    tail: &UnindexedTail,
    project: ProjectNumber,
    range: Range,
) -> Result<Page> {
    let scope_end = ScopeEnd { last: tail.last_position(project), status: RunStatus::Unspecified };
    const ASCENDING: &str = concat!(
        "SELECT ",
        log_columns!(),
        " FROM log l WHERE pos >= coalesce((SELECT max(pos) FROM log WHERE pos > ?1 AND pos <= ?3), ?1 + 1) AND pos <= ?2 \
         ORDER BY pos LIMIT ?4"
    );
    const DESCENDING: &str = concat!(
        "SELECT ",
        log_columns!(),
        " FROM log l WHERE pos > ?1 AND pos <= ?2 AND pos <= ?3 ORDER BY pos DESC LIMIT ?4"
    );
    // Excludes commits that are not announced yet: a cursor must not lie past the end that the next reader gets.
    let from = match range.from {
        ReadFrom::After(position) => ReadFrom::After(position),
        ReadFrom::Before(position) => ReadFrom::Before(position.min(scope_end.last + 1)),
        ReadFrom::End => ReadFrom::Before(scope_end.last + 1),
    };
    let range = Range { from, ..range };
    let (sql, first) = if from.is_descending() { (DESCENDING, from.highest()) } else { (ASCENDING, from.lowest()) };
    let (before, last) = (project.pos(0).cast_signed(), project.pos(u64::MAX).cast_signed());
    let query = sqlx::query_as::<_, LogRow>(sql).bind(before).bind(last).bind(project.pos(first).cast_signed());
    let mut rows = query.bind(most_rows(range)).fetch(readers);
    let mut fill = Fill::new(range);
    let mut chunks: Vec<Chunk> = Vec::new();
    while !fill.is_full()
        && let Some(row) = rows.next().await
    {
        let chunk = row.map_err(from_sqlx).and_then(LogRow::into_chunk);
        let chunk = match chunk.map(|chunk| Chunk { first: position_of(chunk.first), ..chunk }) {
            Ok(chunk) if chunk.first > scope_end.last => break,
            Ok(chunk) if !fill.wants(chunk.first, chunk.last()) => continue,
            Ok(chunk) if follows(&chunks, &chunk, range) => chunk,
            Ok(chunk) => {
                damaged_events(None, None, chunk.first, "the log has a gap before or after this row");
                break;
            }
            // Events before the damage are served; the next page fails.
            Err(Error::EventDamaged { .. } | Error::StoreDamaged) if !chunks.is_empty() => break,
            Err(error) => return Err(error),
        };
        fill.add(chunk.first, chunk.last(), chunk.data.len());
        chunks.push(chunk);
    }
    let is_end = if from.is_descending() { from.highest() == 0 } else { from.lowest() > scope_end.last };
    if chunks.is_empty() && !is_end {
        return Err(Error::EventDamaged { run_id: None, seqs: None });
    }
    Ok(Page { chunks: trim(chunks, range)?, scope_end, first: 1 })
}

/// Most rows that a range can need: each row holds at least one event, and the first row may start before the range.
fn most_rows(range: Range) -> i64 {
    i64::try_from(range.max_events).unwrap_or(i64::MAX).saturating_add(1)
}

/// Offset as a SQLite integer. No event has an offset above 2^63 - 1.
fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
