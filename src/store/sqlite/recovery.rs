//! Reads the writer's in-memory state from the file: at a start, and after a failed commit.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;
use tokio_stream::StreamExt;

use crate::codec::{Chunk, record};
use crate::domain::{Error, EventId, Result, RunStatus};
use crate::store::commit::row_builder::RunSpan;
use crate::store::project::stored_run_id;
use crate::store::{ProjectNumber, ids as store_ids};

use super::SqliteOptions;
use super::error::from_sqlx;
use super::index::flush::Unflushed;
use super::index::id_index;
use super::index::id_index::{Ids, Place, Segment};
use super::index::unindexed_tail::{LastPositions, RunEnd, UnindexedTail};
use super::log_row::{LogRow, Verdict, log_columns};
use super::maintenance::Maintenance;
use super::projects;
use super::write::run_state::{LastRuns, RunStateCache};

/// State read from the file: the unflushed end of the log, the last seq of its runs, and the id segments.
pub struct RecoveredState {
    entries: Vec<(i64, RunSpan)>,
    ends: Vec<(i64, RunEnd)>,
    recent_ids: Vec<Place>,
    segments: Vec<Segment>,
    garbage: Vec<(i64, u32)>,
    /// Stored position of the last event of each project that has an event.
    pub last_positions: LastPositions,
    flushed: LastPositions,
    last_runs: LastRuns,
    unflushed: Unflushed,
}

impl RecoveredState {
    /// Reads the state. The cost depends on the unflushed end of the log, not on the size of the log.
    pub async fn load(writer: &mut SqliteConnection) -> Result<Self> {
        read(writer).await
    }

    /// Replaces the state in memory.
    pub fn install(self, tail: &UnindexedTail, ids: &Ids, options: &SqliteOptions) -> (RunStateCache, Maintenance) {
        tail.replace(self.entries, self.ends, self.last_positions, self.flushed);
        ids.replace(self.recent_ids, self.segments);
        let SqliteOptions { max_unflushed_entries, slice_entries, .. } = *options;
        let maintenance = Maintenance::new(self.unflushed, ids, self.garbage, max_unflushed_entries, slice_entries);
        (RunStateCache::new(self.last_runs), maintenance)
    }
}

/// The ends of a project's runs and log.
#[derive(sqlx::FromRow)]
struct EndsRow {
    project: i64,
    run: Option<i64>,
    pos: Option<i64>,
}

/// Number of the newest run, and stored position of the last event, of each project that has any.
pub async fn ends(writer: &mut SqliteConnection) -> Result<(LastRuns, LastPositions)> {
    // One statement for all projects; both subqueries are one step in an index each.
    const ENDS: &str = "SELECT p.project, \
        (SELECT run FROM runs WHERE run > p.project << 32 AND run < (p.project + 1) << 32 ORDER BY run DESC LIMIT 1) AS run, \
        (SELECT pos + count - 1 FROM log WHERE pos > p.project << 40 AND pos < (p.project + 1) << 40 \
         ORDER BY pos DESC LIMIT 1) AS pos \
        FROM (SELECT 0 AS project UNION ALL SELECT project FROM projects) p";
    let rows: Vec<EndsRow> = sqlx::query_as(ENDS).fetch_all(writer).await.map_err(from_sqlx)?;
    let (mut last_runs, mut last_positions) = (LastRuns::default(), LastPositions::default());
    for EndsRow { project, run, pos } in rows {
        let project = ProjectNumber::of(project).ok_or(Error::StoreDamaged)?;
        last_runs.extend(run.map(|run| (project, run)));
        last_positions.extend(pos.map(|pos| (project, pos.unsigned_abs())));
    }
    Ok((last_runs, last_positions))
}

async fn read(writer: &mut SqliteConnection) -> Result<RecoveredState> {
    let (last_runs, _) = ends(writer).await?;
    let mut found = Found::default();
    let mut unflushed = Unflushed::default();
    let (mut last_positions, mut flushed) = (LastPositions::default(), LastPositions::default());
    for project in projects::all(writer).await? {
        let (first, last) = (project.number.pos(0), project.number.pos(u64::MAX));
        let mut last_pos = project.flushed_pos;
        flushed.insert(project.number, last_pos);
        const UNFLUSHED: &str =
            concat!("SELECT ", log_columns!(), " FROM log l WHERE pos > ? AND pos <= ? ORDER BY pos");
        let query = sqlx::query_as::<_, LogRow>(UNFLUSHED).bind(last_pos.cast_signed()).bind(last.cast_signed());
        let mut rows = query.fetch(&mut *writer);
        while let Some(row) = rows.next().await {
            let row = row.map_err(from_sqlx)?;
            if row.chunk.first != last_pos + 1 {
                tracing::error!(pos = row.chunk.first, last_pos, "the log has a gap");
                return Err(Error::StoreDamaged);
            }
            last_pos = row.chunk.last();
            unflushed.bytes += row.chunk.data.len();
            found.read_row(project.number, &row)?;
        }
        if last_pos > first {
            last_positions.insert(project.number, last_pos);
        }
    }
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
    Ok(RecoveredState { entries, ends, recent_ids, segments, garbage, last_positions, flushed, last_runs, unflushed })
}

/// The columns of `runs` that recovery needs.
#[derive(sqlx::FromRow)]
struct NumberRow {
    run_id: String,
    run: i64,
    status: i64,
}

/// Number and status of each run, by stored run id.
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
/// means that the run id or a seq is damaged, and the content of the row is unknown. Retention may have removed all before it.
async fn check_beginnings(
    writer: &mut SqliteConnection,
    found: &Found,
    number: impl Fn(&str) -> Result<i64>,
) -> Result<()> {
    let mut seen = HashSet::new();
    for (run_id, entry) in found.entries.iter().filter(|(run_id, _)| seen.insert(run_id.as_str())) {
        // An interrupted flush has written some of these entries to the index already.
        const IS_BEFORE: &str = "SELECT (SELECT first_seq FROM runs WHERE run = ?1) >= ?2 OR EXISTS (SELECT 1 FROM run_index WHERE run = ?1 AND seq = \
            (SELECT max(seq) FROM run_index WHERE run = ?1 AND seq < ?2) AND seq + count >= ?2)";
        let is_before: bool = sqlx::query_scalar(IS_BEFORE)
            .bind(number(run_id)?)
            .bind(entry.seq.cast_signed())
            .fetch_one(&mut *writer)
            .await
            .map_err(from_sqlx)?;
        if !is_before {
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

/// Content of the unflushed rows, by stored run id.
#[derive(Default)]
struct Found {
    entries: Vec<(String, RunSpan)>,
    last_records: HashMap<String, bytes::Bytes>,
    ids: Vec<(String, EventId, u64)>,
    /// A row has a wrong checksum. Its readable content is recovered, and readers never get the row.
    has_damage: bool,
}

impl Found {
    fn read_row(&mut self, project: ProjectNumber, row: &LogRow) -> Result<()> {
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
            let run_id = stored_run_id(project, header.run_id);
            match self.last_records.get_mut(&*run_id) {
                Some(last) => {
                    let seq = record::header(last)?.seq;
                    if header.seq != seq + 1 {
                        tracing::error!(run = header.run_id, seq, next = header.seq, "damaged: events are missing");
                        return Err(Error::StoreDamaged);
                    }
                    *last = record.clone();
                }
                None => drop(self.last_records.insert(run_id.to_string(), record.clone())),
            }
            self.ids.push((run_id.to_string(), event_id, header.seq));
            match self.entries.last_mut() {
                Some((of_run, entry)) if *of_run == *run_id && entry.row == pos => {
                    entry.count += 1;
                    entry.length = end - entry.start;
                }
                _ => {
                    let entry = RunSpan { seq: header.seq, count: 1, row: pos, start, length: end - start, sensitive };
                    self.entries.push((run_id.into_owned(), entry));
                }
            }
        }
        Ok(())
    }
}
