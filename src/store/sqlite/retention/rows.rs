//! Reads rows of the log, with the runs of their events.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use sqlx::SqliteConnection;
use tokio_stream::StreamExt;

use crate::codec::{Chunk, record};
use crate::domain::{Error, Result, RunStatus};
use crate::store::ProjectNumber;
use crate::store::project::stored_run_id;
use crate::store::retention::RunFacts;
use crate::store::run_row::checksums;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::log_row::{LogRow, log_columns};

/// Events and bytes of the rows that one transaction changes; at least one row.
const MAX_EVENTS: u32 = 500;
const MAX_BYTES: usize = 256 << 10;

/// An event of a row.
pub struct StoredEvent {
    /// Index of its run in [`Rows::runs`].
    pub run: usize,
    pub seq: u64,
    pub record: Bytes,
}

/// Rows of the log in ascending order.
pub struct Rows {
    /// The rows with their events; no events for a damaged row.
    pub rows: Vec<(LogRow, Vec<StoredEvent>)>,
    pub runs: Vec<RunFacts>,
}

/// The next rows of a project after this stored position, up to the position `last`.
pub async fn after(connection: &mut SqliteConnection, project: ProjectNumber, pos: u64, last: u64) -> Result<Rows> {
    const AFTER: &str =
        concat!("SELECT ", log_columns!(), " FROM log l WHERE pos > ? AND pos <= ? ORDER BY pos LIMIT ?");
    let query = sqlx::query_as(AFTER).bind(pos.cast_signed()).bind(last.cast_signed()).bind(i64::from(MAX_EVENTS));
    let rows = part(query.fetch(&mut *connection)).await?;
    with_runs(connection, project, rows).await
}

/// The rows at these stored positions in ascending order; not all of them if they are large.
pub async fn at(connection: &mut SqliteConnection, project: ProjectNumber, positions: &[i64]) -> Result<Rows> {
    const AT: &str =
        concat!("SELECT ", log_columns!(), " FROM json_each(?) j CROSS JOIN log l ON l.pos = j.value ORDER BY j.rowid");
    let query = sqlx::query_as(AT).bind(serde_json::to_string(positions).unwrap_or_default());
    let rows = part(query.fetch(&mut *connection)).await?;
    with_runs(connection, project, rows).await
}

async fn part(mut rows: impl tokio_stream::Stream<Item = sqlx::Result<LogRow>> + Unpin) -> Result<Vec<LogRow>> {
    let (mut part, mut events, mut bytes) = (Vec::new(), 0, 0);
    while events < MAX_EVENTS
        && bytes < MAX_BYTES
        && let Some(row) = rows.next().await
    {
        let row = row.map_err(from_sqlx)?;
        events += row.chunk.count;
        bytes += row.chunk.data.len();
        part.push(row);
    }
    Ok(part)
}

async fn with_runs(connection: &mut SqliteConnection, project: ProjectNumber, rows: Vec<LogRow>) -> Result<Rows> {
    let run_ids: BTreeSet<String> = rows.iter().flat_map(|row| run_ids(project, &row.chunk)).collect();
    let (runs, indexes) = facts(connection, run_ids).await?;
    let rows = rows.into_iter().map(|row| {
        let events = events(project, &row, &indexes)?;
        Ok((row, events))
    });
    Ok(Rows { rows: rows.collect::<Result<_>>()?, runs })
}

/// Stored ids of the runs of a row, as far as it is readable.
fn run_ids(project: ProjectNumber, chunk: &Chunk) -> Vec<String> {
    let records = chunk.records().map_while(Result::ok);
    let ids = records.map_while(|(_, bytes)| Some(stored_run_id(project, record::header(&bytes).ok()?.run_id).into()));
    let mut ids: Vec<String> = ids.collect();
    ids.dedup();
    ids
}

fn events(project: ProjectNumber, row: &LogRow, indexes: &HashMap<String, usize>) -> Result<Vec<StoredEvent>> {
    if row.is_damaged() {
        return Ok(Vec::new());
    }
    let event = |(_, record): (u64, Bytes)| {
        let header = record::header(&record)?;
        let run = *indexes.get(&*stored_run_id(project, header.run_id)).ok_or(Error::StoreDamaged)?;
        let seq = header.seq;
        Ok(StoredEvent { run, seq, record })
    };
    row.chunk.records().map(|next| next.and_then(event)).collect()
}

/// The columns of `runs` that decide what is removed.
#[derive(sqlx::FromRow)]
struct FactsRow {
    run_id: String,
    run: i64,
    status: i64,
    first_seq: i64,
    held: bool,
    kept_checksum: Option<i64>,
}

async fn facts(
    connection: &mut SqliteConnection,
    run_ids: BTreeSet<String>,
) -> Result<(Vec<RunFacts>, HashMap<String, usize>)> {
    const FACTS: &str = "SELECT run_id, run, status, first_seq, held, kept_checksum FROM runs \
        WHERE run_id IN (SELECT value FROM json_each(?))";
    let query = sqlx::query_as::<_, FactsRow>(FACTS).bind(serde_json::to_string(&run_ids).unwrap_or_default());
    let rows = query.fetch_all(connection).await.map_err(from_sqlx)?;
    let (mut runs, mut indexes) = (Vec::with_capacity(rows.len()), HashMap::with_capacity(rows.len()));
    for FactsRow { run_id, run, status, first_seq, held, kept_checksum } in rows {
        let is_sound = kept_checksum.is_none_or(|checksum| checksum == checksums::of_kept(run, first_seq, held));
        let status = RunStatus::from_number(status).filter(|_| is_sound).ok_or_else(|| {
            tracing::error!(run_id, "damaged: a row of the table `runs`");
            Error::StoreDamaged
        })?;
        indexes.insert(run_id, runs.len());
        runs.push(RunFacts { run, status, first_seq: first_seq.unsigned_abs(), is_held: held });
    }
    Ok((runs, indexes))
}
