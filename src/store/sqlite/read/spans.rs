//! The spans of a run that a range needs, from tail and index.

use std::ops::RangeInclusive;

use sqlx::SqliteConnection;
use tokio_stream::StreamExt;

use super::fill::{Fill, most_rows};
use super::index_row::{IndexRow, index_columns};
use crate::domain::{Error, Result};
use crate::store::Range;
use crate::store::checksum::damaged_events;
use crate::store::commit::row_builder::RunSpan;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::rewrites::{ReadError, Seen};

/// Entries of the range, in reading order and without a gap. `kept` are the seqs of the run.
pub async fn entries(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    seen: Seen<'_>,
    run: i64,
    run_id: &str,
    kept: RangeInclusive<u64>,
    range: Range,
) -> Result<Vec<RunSpan>, ReadError> {
    let (first_seq, last_seq) = kept.into_inner();
    let (mut found, is_full) = find(reader, tail, run, first_seq..=last_seq, range).await?;
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
    let is_end = next < first_seq || next > last_seq;
    if covered < found.len() || !(is_full || is_end) {
        seen.check()?;
        if covered == 0 && !is_end {
            damaged_events(Some(run_id), Some(next), 0, "the index of a run");
            return Err(Error::EventDamaged { run_id: Some(run_id.to_owned()), seqs: Some((next, next)) }.into());
        }
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
    kept: RangeInclusive<u64>,
    range: Range,
) -> Result<(Vec<RunSpan>, bool)> {
    let (first_seq, last_seq) = kept.into_inner();
    // Tail before index, see `unindexed_tail`.
    let (first_unflushed, unflushed) = tail.entries(run, last_seq, range);
    let mut fill = Fill::new(range, first_seq);
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
            if entry.last() < first_seq || take(entry, &mut fill, &mut found) {
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

/// Offset as a SQLite integer. No event has an offset above 2^63 - 1.
fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
