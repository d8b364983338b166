//! Rows of `runs` and `run_documents`: the statements of a commit, and the queries of readers.

use sqlx::SqlitePool;
use tokio_stream::StreamExt;

use crate::domain::projection::Documents;
use crate::domain::{AgentName, Error, EventType, Result, Run, RunFilter, RunId, RunStatus, StructureId};
use crate::store::commit::plan::RunState;
use crate::store::run_row::{RunRow, changed_documents, checksums, usage_json};
use crate::store::{ProjectNumber, RunKey, RunQuery, RunsPage};

use super::absence;
use super::run_filter::{bound, matches};
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;

/// Most runs examined by one listing, so that a filter with few matches does not read the whole table.
const MAX_SCANNED_RUNS: i64 = 10_000;

/// Bytes of documents after which a listing ends, so that 1,000 large outputs are never in memory at once.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// Writes rows of runs. The parameter comes from [`rows_json`]. Retention alone changes what an existing row says of it.
pub const UPSERT_RUNS: &str = "INSERT INTO runs
    (run, run_id, status, last_seq, agent_name, structure_id, created_at, updated_at, started_at, completed_at, usage,
     ended_by, output_at, checksum, end_checksum, first_seq, kept_checksum)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
           value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
           value ->> 15, value ->> 16
    FROM json_each(?) WHERE true
    ON CONFLICT (run) DO UPDATE SET status = excluded.status, last_seq = excluded.last_seq,
        agent_name = excluded.agent_name, structure_id = excluded.structure_id, updated_at = excluded.updated_at,
        started_at = excluded.started_at, completed_at = excluded.completed_at, usage = excluded.usage, ended_by = excluded.ended_by,
        output_at = excluded.output_at, checksum = excluded.checksum, end_checksum = excluded.end_checksum;\n";

/// Writes documents. The parameter comes from [`documents_json`].
pub const UPSERT_DOCUMENTS: &str = "INSERT INTO run_documents (run, kind, json, checksum)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE value ->> 2 IS NOT NULL
    ON CONFLICT (run, kind) DO UPDATE SET json = excluded.json, checksum = excluded.checksum;\n";

/// Removes the documents that have no content in the same parameter.
pub const DELETE_DOCUMENTS: &str = "DELETE FROM run_documents WHERE (run, kind) IN
    (SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE value ->> 2 IS NULL);\n";

/// Rows of runs with their documents.
pub const SELECT: &str = "SELECT r.run, r.run_id, r.status, r.last_seq, r.agent_name, r.structure_id, r.created_at, \
    r.updated_at, r.started_at, r.completed_at, r.usage, r.ended_by, r.output_at, r.first_seq, r.held AS is_held, r.kept_checksum, o.json AS output, e.json AS error, \
    (SELECT '[' || group_concat(json, ',') || ']' FROM (SELECT json FROM run_documents WHERE run = r.run \
     AND kind >= 'pending_input:' AND kind < 'pending_input;' ORDER BY kind)) AS pending_inputs, \
    d.json AS status_detail, r.checksum, r.end_checksum, \
    (SELECT json_group_array(json_array(kind, checksum)) FROM (SELECT kind, checksum FROM run_documents WHERE run = r.run \
     AND json IS NOT NULL ORDER BY kind)) AS document_checksums \
    FROM runs r LEFT JOIN run_documents o ON o.run = r.run AND o.kind = 'output' \
    LEFT JOIN run_documents e ON e.run = r.run AND e.kind = 'error' \
    LEFT JOIN run_documents d ON d.run = r.run AND d.kind = 'status_detail' ";

/// Run of a row, with the later end of row and tail. The tail must be read after the row. `None` if a commit rewrote
/// the row in between, so that row and tail do not belong together.
pub fn current(row: RunRow, tail: &UnindexedTail) -> Result<Option<Run>> {
    let number = row.run;
    let mut run = row.into_run()?;
    let Some(end) = tail.end(number) else { return Ok(Some(run)) };
    if end.row_seq > run.last_seq {
        return Ok(None);
    }
    if end.last_seq > run.last_seq {
        run.last_seq = end.last_seq;
        run.updated_at = end.updated_at;
    }
    Ok(Some(run))
}

pub fn rows_json<'a>(run_states: impl Iterator<Item = &'a RunState>) -> String {
    let rows: Vec<_> = run_states.map(row_json).collect();
    serde_json::to_string(&rows).unwrap_or_default()
}

fn row_json(state: &RunState) -> impl serde::Serialize {
    let RunState { number, run } = state;
    let key = state.key();
    let run_id = key.stored();
    let agent_name = run.agent_name.as_ref().map(AgentName::as_str);
    let structure_id = run.structure_id.as_ref().map(StructureId::as_str);
    let [created_at, updated_at] = [run.created_at, run.updated_at].map(|time| time.to_string());
    let times = [run.started_at, run.completed_at, run.output_at];
    let [started_at, completed_at, output_at] = times.map(|time| time.map(|time| time.to_string()));
    // Text in the parameter as in the column: a cost must not pass through SQLite's number type.
    let usage = run.usage.as_ref().map(usage_json);
    let ended_by = run.ended_by.as_ref().map(EventType::as_str);
    let (started, completed, output) = (started_at.as_deref(), completed_at.as_deref(), output_at.as_deref());
    let texts =
        [agent_name, structure_id, Some(created_at.as_str()), started, completed, usage.as_deref(), ended_by, output];
    let status = i64::from(run.status as u8);
    let checksum = checksums::of_row(*number, &run_id, status, texts);
    let end_checksum = checksums::of_end(*number, status, run.last_seq.cast_signed(), &updated_at);
    let first_seq = run.first_seq.cast_signed();
    let kept_checksum = (first_seq > 1).then(|| checksums::of_kept(*number, first_seq, false));
    serde_json::json!([
        number,
        run_id,
        status,
        run.last_seq,
        agent_name,
        structure_id,
        created_at,
        updated_at,
        started_at,
        completed_at,
        usage,
        ended_by,
        output_at,
        checksum,
        end_checksum,
        run.first_seq,
        kept_checksum
    ])
}

/// Parameter of [`UPSERT_DOCUMENTS`] and [`DELETE_DOCUMENTS`].
pub fn documents_json<'a>(changes: impl Iterator<Item = (i64, &'a Documents)>) -> String {
    let rows: Vec<_> = changes
        .flat_map(|(run, documents)| {
            changed_documents(documents).into_iter().map(move |(kind, text)| {
                let checksum = text.as_ref().map(|text| checksums::of_document(run, &kind, text));
                (run, kind, text, checksum)
            })
        })
        .collect();
    serde_json::to_string(&rows).unwrap_or_default()
}

/// Reads one run with its documents.
pub async fn one(readers: &SqlitePool, tail: &UnindexedTail, key: &RunKey) -> Result<Run> {
    loop {
        let generation = tail.generation();
        let row: Option<RunRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{SELECT} WHERE r.run_id = ?")))
            .bind(key.stored())
            .fetch_optional(readers)
            .await
            .map_err(from_sqlx)?;
        let Some(row) = row else { return Err(absence::not_found(readers, key).await) };
        let run = current(row, tail)?;
        if let Some(run) = run.filter(|_| tail.generation() == generation) {
            return Ok(run);
        }
    }
}

/// Number of the newest run of a project; the number before its first run if it has none.
pub async fn newest(readers: &SqlitePool, project: ProjectNumber) -> Result<i64> {
    const NEWEST: &str = "SELECT run FROM runs WHERE run > ? AND run <= ? ORDER BY run DESC LIMIT 1";
    let newest = sqlx::query_scalar(NEWEST).bind(project.before_runs()).bind(project.last_run());
    Ok(newest.fetch_optional(readers).await.map_err(from_sqlx)?.unwrap_or(project.before_runs()))
}

/// Lists runs of a project, newest first.
pub async fn list(
    readers: &SqlitePool,
    tail: &UnindexedTail,
    project: ProjectNumber,
    query: &RunQuery,
) -> Result<RunsPage> {
    let before = query.before.unwrap_or(i64::MAX).min(newest(readers, project).await? + 1);
    let first = project.before_runs() + 1;
    let oldest = before.saturating_sub(MAX_SCANNED_RUNS).max(first);
    let sql = format!(
        "{SELECT} WHERE {} AND r.run < ?7 AND r.run >= ?8 ORDER BY r.run DESC LIMIT ?9",
        matches(&query.filter)
    );
    let generation = tail.generation();
    let (mut found, mut bytes, mut stopped_at) = (Vec::new(), 0, oldest);
    {
        let mut rows = bound!(sqlx::query_as::<_, RunRow>(sqlx::AssertSqlSafe(sql)), &query.filter)
            .bind(before)
            .bind(oldest)
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
            .fetch(readers);
        while let Some(row) = rows.next().await {
            let row = row.map_err(from_sqlx)?;
            bytes += row.document_bytes();
            let number = row.run;
            found.push(row);
            if found.len() >= query.limit || bytes > MAX_PAGE_BYTES {
                stopped_at = number;
                break;
            }
        }
    }
    let runs = settle(readers, tail, generation, &query.filter.statuses, found).await?;
    Ok(RunsPage { runs, next: (stopped_at > first).then_some(stopped_at) })
}

/// Runs of rows read since `generation`. Rows changed since are read again one by one: repeating the whole page might
/// never end while runs change.
async fn settle(
    readers: &SqlitePool,
    tail: &UnindexedTail,
    generation: u64,
    statuses: &[RunStatus],
    rows: Vec<RunRow>,
) -> Result<Vec<Run>> {
    let mut settled = Vec::with_capacity(rows.len());
    for row in rows {
        let key = row.key()?;
        let run = current(row, tail)?.filter(|_| tail.generation() == generation);
        let run = match run {
            Some(run) => run,
            None => one(readers, tail, &key).await?,
        };
        if statuses.is_empty() || statuses.contains(&run.status) {
            settled.push(run);
        }
    }
    Ok(settled)
}

/// Counts the matching runs of a project.
pub async fn count(readers: &SqlitePool, project: ProjectNumber, filter: &RunFilter) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM runs r WHERE {} AND r.run > ?7 AND r.run <= ?8", matches(filter));
    let count: i64 = bound!(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)), filter)
        .bind(project.before_runs())
        .bind(project.last_run())
        .fetch_one(readers)
        .await
        .map_err(from_sqlx)?;
    Ok(count.unsigned_abs())
}

/// Ids of at most `limit` matching runs of a project, newest first, after skipping `offset` runs.
pub async fn ids_at(
    readers: &SqlitePool,
    project: ProjectNumber,
    filter: &RunFilter,
    offset: u64,
    limit: usize,
) -> Result<Vec<RunId>> {
    let sql = format!(
        "SELECT r.run_id FROM runs r WHERE {} AND r.run > ?7 AND r.run <= ?8 ORDER BY r.run DESC LIMIT ?9 OFFSET ?10",
        matches(filter)
    );
    let ids: Vec<String> = bound!(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)), filter)
        .bind(project.before_runs())
        .bind(project.last_run())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(readers)
        .await
        .map_err(from_sqlx)?;
    let run_id = |id: String| RunKey::from_stored(&id).map(|key| key.run_id).ok_or(Error::StoreDamaged);
    ids.into_iter().map(run_id).collect()
}
