//! Pages of the feed of a project.

use sqlx::{SqliteConnection, SqlitePool};
use tokio_stream::StreamExt;

use super::fill::{Fill, check_kept, follows, most_rows, trim};
use crate::codec::Chunk;
use crate::domain::{Error, Result, RunStatus};
use crate::store::checksum::damaged_events;
use crate::store::project::position_of;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::log_row::{LogRow, log_columns};
use crate::store::sqlite::rewrites::{ReadError, Rewrites, Seen};
use crate::store::{Page, ProjectNumber, Range, ReadFrom, ScopeEnd};

/// Reads a page of the feed of a project.
pub async fn page(
    readers: &SqlitePool,
    tail: &UnindexedTail,
    rewrites: &Rewrites,
    project: ProjectNumber,
    range: Range,
) -> Result<Page> {
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    loop {
        let seen = rewrites.seen().await;
        // The first position before the rows: rows before it may be gone.
        let first = rewrites.first(project);
        check_kept(range, first)?;
        match page_once(&mut reader, tail, seen, project, first, range).await {
            Err(ReadError::Stale) => {}
            Err(ReadError::Failed(error)) => return Err(error),
            Ok(page) => {
                // A row before the first position has lost events, so the places of the others in it are not known.
                rewrites.seen().await;
                let lowest = page.chunks.iter().map(|chunk| chunk.first).min();
                if lowest.is_none_or(|lowest| rewrites.first(project) <= lowest) {
                    return Ok(page);
                }
            }
        }
    }
}

async fn page_once(
    reader: &mut SqliteConnection,
    tail: &UnindexedTail,
    seen: Seen<'_>,
    project: ProjectNumber,
    first: u64,
    range: Range,
) -> Result<Page, ReadError> {
    let scope_end = ScopeEnd { last: tail.last_position(project), status: RunStatus::Unspecified };
    const ASCENDING: &str = concat!(
        "SELECT ",
        log_columns!(),
        " FROM log l WHERE pos >= coalesce((SELECT max(pos) FROM log WHERE pos >= ?1 AND pos <= ?3), ?1) AND pos <= ?2 \
         ORDER BY pos LIMIT ?4"
    );
    const DESCENDING: &str = concat!(
        "SELECT ",
        log_columns!(),
        " FROM log l WHERE pos >= ?1 AND pos <= ?2 AND pos <= ?3 ORDER BY pos DESC LIMIT ?4"
    );
    // Excludes commits that are not announced yet: a cursor must not lie past the end that the next reader gets.
    let from = match range.from {
        ReadFrom::After(position) => ReadFrom::After(position),
        ReadFrom::Before(position) => ReadFrom::Before(position.min(scope_end.last + 1)),
        ReadFrom::End => ReadFrom::Before(scope_end.last + 1),
    };
    let range = Range { from, ..range };
    let (sql, start) = if from.is_descending() { (DESCENDING, from.highest()) } else { (ASCENDING, from.lowest()) };
    let (lowest, last) = (project.pos(first).cast_signed(), project.pos(u64::MAX).cast_signed());
    let query = sqlx::query_as::<_, LogRow>(sql).bind(lowest).bind(last).bind(project.pos(start).cast_signed());
    let mut rows = query.bind(most_rows(range)).fetch(reader);
    let mut fill = Fill::new(range, first);
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
                seen.check()?;
                damaged_events(None, None, chunk.first, "the log has a gap before or after this row");
                break;
            }
            // Events before the damage are served; the next page fails.
            Err(Error::EventDamaged { .. } | Error::StoreDamaged) if !chunks.is_empty() => break,
            Err(error) => return Err(error.into()),
        };
        fill.add(chunk.first, chunk.last(), chunk.data.len());
        chunks.push(chunk);
    }
    let is_end = if from.is_descending() { from.highest() < first } else { from.lowest() > scope_end.last };
    if chunks.is_empty() && !is_end {
        seen.check()?;
        return Err(Error::EventDamaged { run_id: None, seqs: None }.into());
    }
    Ok(Page { chunks: trim(chunks, range, first)?, scope_end, first })
}
