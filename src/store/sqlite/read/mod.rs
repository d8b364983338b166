//! Pages of a run and of the feed. The statements of one page need no common snapshot: events change only by a rewrite, which
//! `rewrites` lets a reader notice.

pub mod absence;
pub mod feed;
mod fill;
pub mod find;
pub mod index_row;
mod run_filter;
pub mod run_scope;
pub mod runs;
mod spans;
pub mod usage;
pub mod view_flag;

use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};

use crate::domain::{Error, Result};
use crate::store::{Page, Range, ReadFrom, RunKey};

use super::error::from_sqlx;
use super::index::unindexed_tail::UnindexedTail;
use super::log_row::{self, Loaded};
use super::rewrites::{ReadError, Rewrites, Seen};
use fill::{check_kept, trim};
use run_scope::RunScope;
use spans::entries;

/// Reads a page of one run.
pub async fn run_page(
    readers: &SqlitePool,
    tail: &UnindexedTail,
    rewrites: &Rewrites,
    key: &RunKey,
    range: Range,
) -> Result<Page> {
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    loop {
        let seen = rewrites.seen().await;
        match run_page_once(&mut reader, tail, seen, key, range).await {
            Err(ReadError::Stale) => {}
            Err(ReadError::Failed(error)) => return Err(error),
            Ok(page) => return Ok(page),
        }
    }
}

async fn run_page_once(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    seen: Seen<'_>,
    key: &RunKey,
    range: Range,
) -> Result<Page, ReadError> {
    // Order matters: end of the run, tail, index, see `unindexed_tail`. The end may be older than the last chunk, never
    // newer.
    let RunScope { run, first, end: scope_end } = run_scope::of(reader, tail, key).await?;
    check_kept(range, first)?;
    let (run_id, kept) = (key.run_id.as_str(), first..=scope_end.last);
    let entries = entries(reader, tail, seen, run, run_id, kept, range).await?;
    let Loaded { chunks, damaged } = log_row::load(reader, seen, Some(run_id), &entries).await?;
    // Events before the damage are served; the next page fails.
    match damaged {
        Some(damaged) if chunks.is_empty() => Err(damaged.into()),
        _ => Ok(Page { chunks: trim(chunks, range, first)?, scope_end, first }),
    }
}

/// Record of a run at this seq; `None` if the run has no such seq, or has it no more.
pub async fn record_at(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    rewrites: &Rewrites,
    run: i64,
    seq: u64,
) -> Result<Option<Bytes>> {
    loop {
        let seen = rewrites.seen().await;
        match record_at_once(reader, tail, seen, run, seq).await {
            Err(ReadError::Stale) => {}
            Err(ReadError::Failed(error)) => return Err(error),
            Ok(record) => return Ok(record),
        }
    }
}

async fn record_at_once(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    seen: Seen<'_>,
    run: i64,
    seq: u64,
) -> Result<Option<Bytes>, ReadError> {
    let (first_seq, last_seq, stored) = loop {
        let generation = tail.generation();
        let in_row: Option<(i64, i64, String)> =
            sqlx::query_as("SELECT first_seq, last_seq, run_id FROM runs WHERE run = ?")
                .bind(run)
                .fetch_optional(&mut *reader)
                .await
                .map_err(from_sqlx)?;
        let Some((first_seq, in_row, stored)) = in_row else { return Ok(None) };
        let last_seq = tail.end(run).map_or(0, |end| end.last_seq).max(in_row.unsigned_abs());
        if tail.generation() == generation {
            break (first_seq.unsigned_abs(), last_seq, stored);
        }
    };
    if !(first_seq.max(1)..=last_seq).contains(&seq) {
        return Ok(None);
    }
    let run_id = RunKey::from_stored(&stored).ok_or(Error::StoreDamaged)?.run_id;
    let range = Range { from: ReadFrom::After(seq - 1), max_events: 1, max_bytes: 0 };
    let entries = entries(reader, tail, seen, run, run_id.as_str(), first_seq..=last_seq, range).await?;
    let Loaded { chunks, damaged } = log_row::load(reader, seen, Some(run_id.as_str()), &entries).await?;
    let chunk = trim(chunks, range, first_seq)?.into_iter().next();
    let record = chunk.and_then(|chunk| chunk.records().next());
    let (_, record) = record.ok_or_else(|| damaged.unwrap_or(Error::StoreDamaged))??;
    Ok(Some(record))
}

/// Last seq of the run at or before this position of the feed. `position` must not lie inside a log row.
pub async fn last_seq_at(readers: &SqlitePool, tail: &UnindexedTail, key: &RunKey, position: u64) -> Result<u64> {
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    let RunScope { run, first, .. } = run_scope::of(&mut reader, tail, key).await?;
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
    let found = unflushed.unwrap_or(0).max(flushed.unwrap_or(0).unsigned_abs());
    if found > 0 || first == 1 {
        return Ok(found);
    }
    // Of the events that are gone, those without a row lie before every position that is still read.
    const FIRST: &str = "SELECT min(seq) FROM run_index WHERE run = ?";
    let indexed: Option<i64> = sqlx::query_scalar(FIRST).bind(run).fetch_one(&mut *reader).await.map_err(from_sqlx)?;
    Ok(indexed.map(i64::unsigned_abs).into_iter().chain(tail.first_seq(run)).chain([first]).min().unwrap_or(1) - 1)
}
