//! Reads the writer's in-memory state from the file: at a start, and after a failed commit.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;
use tokio_stream::StreamExt;

use crate::codec::{Chunk, record};
use crate::domain::{Error, EventId, Result, RunStatus};
use crate::store::commit::row_builder::RunSpan;
use crate::store::ids as store_ids;

use super::SqliteOptions;
use super::error::from_sqlx;
use super::index::flush::Unflushed;
use super::index::id_index;
use super::index::id_index::{Ids, Place, Segment};
use super::index::unindexed_tail::{RunEnd, UnindexedTail};
use super::log_row::{LogRow, Verdict, log_columns};
use super::maintenance::Maintenance;
use super::store_row::StoreRow;
use super::write::run_state::RunStateCache;

/// State read from the file: the unflushed end of the log, the last seq of its runs, and the id segments.
pub struct RecoveredState {
    entries: Vec<(i64, RunSpan)>,
    ends: Vec<(i64, RunEnd)>,
    recent_ids: Vec<Place>,
    segments: Vec<Segment>,
    garbage: Vec<(i64, u32)>,
    /// Position of the last event; 0 for an empty log.
    pub last_position: u64,
    last_run: i64,
    unflushed: Unflushed,
}

impl RecoveredState {
    /// Reads the state. The cost depends on the unflushed end of the log, not on the size of the log.
    pub async fn load(writer: &mut SqliteConnection) -> Result<Self> {
        read(writer).await
    }

    /// Replaces the state in memory.
    pub fn install(self, tail: &UnindexedTail, ids: &Ids, options: &SqliteOptions) -> (RunStateCache, Maintenance) {
        tail.replace(self.entries, self.ends, self.last_position);
        ids.replace(self.recent_ids, self.segments);
        let SqliteOptions { max_unflushed_entries, slice_entries, .. } = *options;
        let maintenance = Maintenance::new(self.unflushed, ids, self.garbage, max_unflushed_entries, slice_entries);
        (RunStateCache::new(self.last_run), maintenance)
    }
}

/// Number of the newest run, and position of the last event in the file.
pub async fn ends(writer: &mut SqliteConnection) -> Result<(i64, u64)> {
    const ENDS: &str = "SELECT (SELECT coalesce(max(run), 0) FROM runs), \
        coalesce((SELECT pos + count - 1 FROM log ORDER BY pos DESC LIMIT 1), 0)";
    let (last_run, last_position): (i64, i64) = sqlx::query_as(ENDS).fetch_one(writer).await.map_err(from_sqlx)?;
    Ok((last_run, last_position.unsigned_abs()))
}

async fn read(writer: &mut SqliteConnection) -> Result<RecoveredState> {
    let flushed = StoreRow::read(writer).await?.sealed_pos;
    let last_run: i64 = sqlx::query_scalar("SELECT coalesce(max(run), 0) FROM runs")
        .fetch_one(&mut *writer)
        .await
        .map_err(from_sqlx)?;
    let mut found = Found::default();
    let mut unflushed = Unflushed::default();
    let mut last_position = flushed.unsigned_abs();
    const UNFLUSHED: &str = concat!("SELECT ", log_columns!(), " FROM log l WHERE pos > ? ORDER BY pos");
    let mut rows = sqlx::query_as::<_, LogRow>(UNFLUSHED).bind(flushed).fetch(&mut *writer);
    while let Some(row) = rows.next().await {
        let row = row.map_err(from_sqlx)?;
        if row.chunk.first != last_position + 1 {
            tracing::error!(pos = row.chunk.first, last_position, "the log has a gap");
            return Err(Error::StoreDamaged);
        }
        last_position = row.chunk.last();
        unflushed.bytes += row.chunk.data.len();
        found.read_row(&row)?;
    }
    drop(rows);
    let numbers = run_numbers(writer, &found).await?;
    let number = |run_id: &str| numbers.get(run_id).map(|(run, _)| *run).ok_or(Error::StoreDamaged);
    if found.has_damage {
        check_beginnings(writer, &found, number).await?;
    }
    let mut recent_ids = Vec::new();
    for (run_id, event_id, seq) in &found.ids {
        let run = number(run_id)?;
        // Ids assigned by the store encode run and seq, and need no entry.
        if store_ids::assigned_seq(run, event_id) != Some(*seq) {
            recent_ids.push(Place { hash: id_index::hash(event_id), run, seq: *seq });
        }
    }
    let entries = found.entries.into_iter().map(|(run_id, entry)| Ok((number(&run_id)?, entry)));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    unflushed.entries = entries.len();
    let mut ends = Vec::with_capacity(found.last_records.len());
    for (run_id, record) in found.last_records {
        let (last_seq, updated_at) = (record::header(&record)?.seq, record::recorded_at(&record)?);
        let (run, status) = numbers[&run_id];
        ends.push((run, RunEnd { last_seq, updated_at, row_seq: 0, status }));
    }
    let (segments, garbage) = id_index::load(writer).await?;
    Ok(RecoveredState { entries, ends, recent_ids, segments, garbage, last_position, last_run, unflushed })
}

/// The columns of `runs` that recovery needs.
#[derive(sqlx::FromRow)]
struct NumberRow {
    run_id: String,
    run: i64,
    status: i64,
}

/// Number and status of each run, by run id.
async fn run_numbers(writer: &mut SqliteConnection, found: &Found) -> Result<HashMap<String, (i64, RunStatus)>> {
    let run_ids: HashSet<&str> = found.entries.iter().map(|(run_id, _)| run_id.as_str()).collect();
    let rows: Vec<NumberRow> =
        sqlx::query_as("SELECT run_id, run, status FROM runs WHERE run_id IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&run_ids).unwrap_or_default())
            .fetch_all(writer)
            .await
            .map_err(from_sqlx)?;
    let of_row = |row: NumberRow| {
        RunStatus::from_number(row.status).map(|status| (row.run_id, (row.run, status))).ok_or(Error::StoreDamaged)
    };
    rows.into_iter().map(of_row).collect()
}

/// After damage: checks that the first unflushed event of each run follows the run's last entry in the index. A gap
/// means that the run id or a seq is damaged, and the content of the row is unknown.
async fn check_beginnings(
    writer: &mut SqliteConnection,
    found: &Found,
    number: impl Fn(&str) -> Result<i64>,
) -> Result<()> {
    let mut seen = HashSet::new();
    for (run_id, entry) in found.entries.iter().filter(|(run_id, _)| seen.insert(run_id.as_str())) {
        // An interrupted flush has written some of these entries to the index already.
        const IS_BEFORE: &str = "SELECT count(*) FROM run_index WHERE run = ?1 AND seq = \
            (SELECT max(seq) FROM run_index WHERE run = ?1 AND seq < ?2) AND seq + count >= ?2";
        let before: i64 = sqlx::query_scalar(IS_BEFORE)
            .bind(number(run_id)?)
            .bind(entry.seq.cast_signed())
            .fetch_one(&mut *writer)
            .await
            .map_err(from_sqlx)?;
        if entry.seq > 1 && before == 0 {
            tracing::error!(
                run = run_id,
                seq = entry.seq,
                row = entry.row,
                "damaged: the events before it are missing"
            );
            return Err(Error::StoreDamaged);
        }
    }
    Ok(())
}

/// Content of the unflushed rows, by run id.
#[derive(Default)]
struct Found {
    entries: Vec<(String, RunSpan)>,
    last_records: HashMap<String, bytes::Bytes>,
    ids: Vec<(String, EventId, u64)>,
    /// A row has a wrong checksum. Its readable content is recovered, and readers never get the row.
    has_damage: bool,
}

impl Found {
    fn read_row(&mut self, row: &LogRow) -> Result<()> {
        let Chunk { first: pos, count, sensitive, ref data } = row.chunk;
        if row.verdict == Verdict::Damaged {
            tracing::error!(row = pos, count, "damaged: a row at the end of the log");
            self.has_damage = true;
        }
        if record::count(data) != Some(count) {
            tracing::error!(
                row = pos,
                count,
                "damaged: it is not known which events a row at the end of the log holds"
            );
            return Err(Error::StoreDamaged);
        }
        let total = data.len();
        let mut rest = data.clone();
        while !rest.is_empty() {
            let start = u32::try_from(total - rest.len()).map_err(|_| Error::StoreDamaged)?;
            let record = record::split_entry(&mut rest)?;
            let end = u32::try_from(total - rest.len()).map_err(|_| Error::StoreDamaged)?;
            let header = record::header(&record)?;
            let event_id = EventId::parse(header.event_id).map_err(|_| Error::StoreDamaged)?;
            match self.last_records.get_mut(header.run_id) {
                Some(last) => {
                    let seq = record::header(last)?.seq;
                    if header.seq != seq + 1 {
                        tracing::error!(run = header.run_id, seq, next = header.seq, "damaged: events are missing");
                        return Err(Error::StoreDamaged);
                    }
                    *last = record.clone();
                }
                None => drop(self.last_records.insert(header.run_id.to_owned(), record.clone())),
            }
            self.ids.push((header.run_id.to_owned(), event_id, header.seq));
            match self.entries.last_mut() {
                Some((run_id, entry)) if *run_id == header.run_id && entry.row == pos => {
                    entry.count += 1;
                    entry.length = end - entry.start;
                }
                _ => {
                    let entry = RunSpan { seq: header.seq, count: 1, row: pos, start, length: end - start, sensitive };
                    self.entries.push((header.run_id.to_owned(), entry));
                }
            }
        }
        Ok(())
    }
}
