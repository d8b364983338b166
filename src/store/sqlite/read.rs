//! Pages of a run and of the feed. Events never change, so the statements of one page need no common snapshot.

use bytes::Bytes;
use sqlx::{SqliteConnection, SqlitePool};
use tokio_stream::StreamExt;

use crate::domain::{Chunk, Error, Result, RunId, RunStatus};
use crate::store::layout::Entry;
use crate::store::{Page, Range, Tip};

use super::error::from_sqlx;
use super::runs;
use super::tail::Tail;
use super::view_flag::ViewFlag;

/// A row of `run_index` without its run.
pub type IndexRow = (i64, i64, i64, i64, i64, ViewFlag);

/// A page of one run.
pub async fn run_page(readers: &SqlitePool, tail: &Tail, run_id: &RunId, range: Range) -> Result<Page> {
    let mut reader = readers.acquire().await.map_err(from_sqlx)?;
    // The order of these is what makes a page whole: see `tail`. The tip may be older than the last chunk, never newer.
    let (run, tip) = runs::tip(&mut reader, tail, run_id).await?;
    let entries = entries(&mut reader, tail, (run, tip.last), range).await?;
    let chunks = trim(load(&mut reader, entries).await?, range)?;
    Ok(Page { chunks, tip })
}

/// The record of a run with this seq; `None` where there is none.
pub async fn record_at(reader: &mut SqliteConnection, tail: &Tail, run: i64, seq: u64) -> Result<Option<Bytes>> {
    let last_seq = loop {
        let generation = tail.generation();
        let in_row: Option<i64> = sqlx::query_scalar("SELECT last_seq FROM runs WHERE run = ?")
            .bind(run)
            .fetch_optional(&mut *reader)
            .await
            .map_err(from_sqlx)?;
        let Some(in_row) = in_row else { return Ok(None) };
        let last_seq = tail.end(run).map_or(0, |end| end.last_seq).max(in_row.unsigned_abs());
        if tail.generation() == generation {
            break last_seq;
        }
    };
    if !(1..=last_seq).contains(&seq) {
        return Ok(None);
    }
    let range = Range { from: seq - 1, descending: false, max_events: 1, max_bytes: 0 };
    let entries = entries(reader, tail, (run, last_seq), range).await?;
    let chunk = trim(load(reader, entries).await?, range)?.into_iter().next();
    let (_, record) = chunk.and_then(|chunk| chunk.records().next()).ok_or(Error::StoreDamaged)??;
    Ok(Some(record))
}

/// Collects what a range asks for, counting events and bytes.
struct Fill {
    range: Range,
    events: usize,
    bytes: usize,
}

impl Fill {
    fn new(range: Range) -> Self {
        Self { range, events: 0, bytes: 0 }
    }

    /// Whether the range takes anything of these coordinates.
    fn wants(&self, first: u64, last: u64) -> bool {
        if self.range.descending { first < self.range.from } else { last > self.range.from }
    }

    fn add(&mut self, first: u64, last: u64, bytes: usize) {
        let taken = if self.range.descending {
            last.min(self.range.from - 1) - first + 1
        } else {
            last - first.max(self.range.from + 1) + 1
        };
        self.events += usize::try_from(taken).unwrap_or(usize::MAX);
        self.bytes += bytes;
    }

    fn is_full(&self) -> bool {
        self.events >= self.range.max_events || (self.events > 0 && self.bytes > self.range.max_bytes)
    }
}

/// Where the events of the range lie, in reading order.
async fn entries(
    reader: &mut SqliteConnection,
    tail: &Tail,
    (run, last_seq): (i64, u64),
    range: Range,
) -> Result<Vec<Entry>> {
    // First the tail, then the index: see `tail`.
    let (first_unsealed, unsealed) = tail.entries(run, last_seq, range);
    let mut fill = Fill::new(range);
    let mut found: Vec<Entry> = Vec::new();
    let take = |entry: Entry, fill: &mut Fill, found: &mut Vec<Entry>| {
        if fill.wants(entry.seq, entry.last()) {
            fill.add(entry.seq, entry.last(), entry.length as usize);
            found.push(entry);
        }
        fill.is_full()
    };
    if range.descending {
        for entry in unsealed {
            if take(entry, &mut fill, &mut found) {
                return Ok(found);
            }
        }
        let before = found.last().map_or(range.from, |entry| entry.seq);
        let mut rows = sqlx::query_as::<_, IndexRow>(
            "SELECT seq, count, pos, start, length, sensitive FROM run_index \
             WHERE run = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
        )
        .bind(run)
        .bind(signed(before))
        .bind(most_rows(range))
        .fetch(&mut *reader);
        while let Some(row) = rows.next().await {
            if take(entry(row.map_err(from_sqlx)?)?, &mut fill, &mut found) {
                break;
            }
        }
        return Ok(found);
    }
    let is_in_tail = first_unsealed.is_some_and(|first| first <= range.from.saturating_add(1));
    if !is_in_tail {
        let mut rows = sqlx::query_as::<_, IndexRow>(
            "SELECT seq, count, pos, start, length, sensitive FROM run_index WHERE run = ?1 AND seq >= \
             coalesce((SELECT max(seq) FROM run_index WHERE run = ?1 AND seq <= ?2), 0) ORDER BY seq LIMIT ?3",
        )
        .bind(run)
        .bind(signed(range.from.saturating_add(1)))
        .bind(most_rows(range))
        .fetch(&mut *reader);
        while let Some(row) = rows.next().await {
            if take(entry(row.map_err(from_sqlx)?)?, &mut fill, &mut found) {
                return Ok(found);
            }
        }
    }
    let after = found.last().map_or(0, Entry::last);
    for entry in unsealed.into_iter().filter(|entry| entry.seq > after) {
        if take(entry, &mut fill, &mut found) {
            break;
        }
    }
    Ok(found)
}

/// Reads the bytes of entries out of the log.
pub async fn load(reader: &mut SqliteConnection, entries: Vec<Entry>) -> Result<Vec<Chunk>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let places: Vec<_> = entries.iter().map(|e| (e.row, e.start + 1, e.length)).collect();
    // A row that is wanted whole, as most of a long run are, is not copied by substr.
    // json_each promises the order of its rowid (not of its key) for nothing, so the records pass through no sorter.
    let mut rows = sqlx::query_scalar::<_, Vec<u8>>(
        "SELECT CASE length(l.data) WHEN j.value ->> 2 THEN l.data ELSE substr(l.data, j.value ->> 1, j.value ->> 2) END \
         FROM json_each(?) j CROSS JOIN log l ON l.pos = j.value ->> 0 ORDER BY j.rowid",
    )
    .bind(serde_json::to_string(&places).unwrap_or_default())
    .fetch(reader);
    let mut chunks = Vec::with_capacity(entries.len());
    let mut entries = entries.into_iter();
    while let Some(data) = rows.next().await {
        let (data, entry) = (data.map_err(from_sqlx)?, entries.next().ok_or(Error::StoreDamaged)?);
        if data.len() != entry.length as usize {
            return Err(Error::StoreDamaged);
        }
        chunks.push(entry.chunk(Bytes::from(data)));
    }
    if entries.next().is_some() {
        tracing::error!("the index points to a log row that is not there");
        return Err(Error::StoreDamaged);
    }
    Ok(chunks)
}

/// A page of the feed.
pub async fn feed_page(readers: &SqlitePool, tail: &Tail, range: Range) -> Result<Page> {
    let tip = Tip { last: tail.last_position(), status: RunStatus::Unspecified };
    const ASCENDING: &str = "SELECT pos, count, sensitive, data FROM log WHERE pos >= \
        coalesce((SELECT max(pos) FROM log WHERE pos <= ?), 0) ORDER BY pos LIMIT ?";
    const DESCENDING: &str = "SELECT pos, count, sensitive, data FROM log WHERE pos < ? ORDER BY pos DESC LIMIT ?";
    // What is committed but not told yet stays out: a cursor must not lie past the end that the next reader is given.
    let range = Range { from: if range.descending { range.from.min(tip.last + 1) } else { range.from }, ..range };
    let (sql, from) =
        if range.descending { (DESCENDING, range.from) } else { (ASCENDING, range.from.saturating_add(1)) };
    let mut rows = sqlx::query_as::<_, (i64, i64, ViewFlag, Vec<u8>)>(sql)
        .bind(signed(from))
        .bind(most_rows(range))
        .fetch(readers);
    let mut fill = Fill::new(range);
    let mut chunks = Vec::new();
    while let Some(row) = rows.next().await {
        let (pos, count, sensitive, data) = row.map_err(from_sqlx)?;
        let count = u32::try_from(count).map_err(|_| Error::StoreDamaged)?;
        let sensitive = sensitive.is_sensitive();
        let chunk = Chunk { first: pos.unsigned_abs(), count, sensitive, data: data.into() };
        if chunk.first > tip.last {
            break;
        }
        if fill.wants(chunk.first, chunk.last()) {
            fill.add(chunk.first, chunk.last(), chunk.data.len());
            chunks.push(chunk);
        }
        if fill.is_full() {
            break;
        }
    }
    Ok(Page { chunks: trim(chunks, range)?, tip })
}

/// Cuts the first chunk to where the range begins and the last one to where it has enough.
fn trim(chunks: Vec<Chunk>, range: Range) -> Result<Vec<Chunk>> {
    let mut left = range.max_events as u64;
    let mut trimmed = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        if left == 0 {
            break;
        }
        let (from, to) = if range.descending {
            let to = chunk.last().min(range.from - 1);
            (chunk.first.max(to.saturating_sub(left - 1)), to)
        } else {
            let from = chunk.first.max(range.from + 1);
            (from, chunk.last().min(from.saturating_add(left - 1)))
        };
        if let Some(part) = chunk.between(from, to)? {
            left -= u64::from(part.count);
            trimmed.push(part);
        }
    }
    Ok(trimmed)
}

/// The entry that a row of the index tells.
pub fn entry((seq, count, row, start, length, sensitive): IndexRow) -> Result<Entry> {
    let narrow = |n: i64| u32::try_from(n).map_err(|_| Error::StoreDamaged);
    let (count, start, length) = (narrow(count)?, narrow(start)?, narrow(length)?);
    let sensitive = sensitive.is_sensitive();
    Ok(Entry { seq: seq.unsigned_abs(), count, row: row.unsigned_abs(), start, length, sensitive })
}

/// Each row holds an event at least; the first one may lie before the range.
fn most_rows(range: Range) -> i64 {
    i64::try_from(range.max_events).unwrap_or(i64::MAX).saturating_add(1)
}

/// Coordinates past SQLite's 63 bits mean "the end".
fn signed(coordinate: u64) -> i64 {
    i64::try_from(coordinate).unwrap_or(i64::MAX)
}
