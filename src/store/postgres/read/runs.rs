//! Reads of `runs` and `run_documents`.

use crate::domain::{Error, Run, RunFilter, RunId, RunStatus};
use crate::store::run_row::RunRow;
use crate::store::{ProjectNumber, RunKey, RunQuery, RunsPage, ScopeEnd};

use super::run_filter::{bound, matching};
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;

/// Maximum number of runs scanned by one page, so that a selective filter does not scan the whole table.
const MAX_SCANNED_RUNS: i64 = 10_000;

/// Bytes of documents after which a page ends, so that 1,000 large outputs are never in memory together.
const MAX_PAGE_BYTES: i64 = 4 << 20;

/// SELECT of runs with their documents; `$from` gets the alias `r`.
macro_rules! select {
    ($from:expr, $where:expr) => {
        concat!(
            "SELECT r.run, r.run_id, r.status, r.last_seq, k.first_seq, k.held AS is_held, r.agent_name, r.structure_id, r.created_at, r.updated_at, \
             r.started_at, r.completed_at, r.usage, r.ended_by, r.output_at, o.json AS output, e.json AS error, \
             (SELECT '[' || string_agg(p.json, ',') || ']' FROM run_documents p WHERE p.run = r.run \
              AND starts_with(p.kind, 'pending_input') AND p.json IS NOT NULL) AS pending_inputs, \
             d.json AS status_detail FROM ",
            $from,
            " r LEFT JOIN run_retention k ON k.run = r.run LEFT JOIN run_documents o ON o.run = r.run AND o.kind = 'output' \
             LEFT JOIN run_documents e ON e.run = r.run AND e.kind = 'error' \
             LEFT JOIN run_documents d ON d.run = r.run AND d.kind = 'status_detail' WHERE ",
            $where
        )
    };
}

/// Row of the query of a [`RunExtent`].
#[derive(sqlx::FromRow)]
struct ExtentRow {
    run: i64,
    status: i64,
    last_seq: i64,
    first_seq: Option<i64>,
}

/// Number and extent of a run.
pub struct RunExtent {
    pub run: i64,
    pub scope_end: ScopeEnd,
    /// First seq that is kept.
    pub first: u64,
}

/// Number, first seq and end of a run.
pub async fn extent(connection: &mut PgExecutor<'_>, key: &RunKey) -> Result<RunExtent, Fault> {
    const EXTENT: &str = "SELECT r.run, r.status, r.last_seq, k.first_seq FROM runs r \
        LEFT JOIN run_retention k ON k.run = r.run WHERE r.run_id = $1";
    let row: Option<ExtentRow> = sqlx::query_as(EXTENT).bind(key.stored()).fetch_optional(connection).await?;
    let ExtentRow { run, status, last_seq, first_seq } = row.ok_or_else(|| not_found(key))?;
    let status = RunStatus::from_number(status).ok_or(Error::StoreDamaged)?;
    let scope_end = ScopeEnd { last: last_seq.unsigned_abs(), status };
    Ok(RunExtent { run, scope_end, first: first_seq.map_or(1, i64::unsigned_abs) })
}

/// Number and end of a run.
pub async fn scope_end(connection: &mut PgExecutor<'_>, key: &RunKey) -> Result<(i64, ScopeEnd), Fault> {
    extent(connection, key).await.map(|extent| (extent.run, extent.scope_end))
}

/// One run with its documents.
pub async fn one(connection: &mut PgExecutor<'_>, key: &RunKey) -> Result<Run, Fault> {
    let row: Option<RunRow> =
        sqlx::query_as(select!("runs", "r.run_id = $1")).bind(key.stored()).fetch_optional(connection).await?;
    Ok(row.ok_or_else(|| not_found(key))?.into_run()?)
}

/// Number of the newest run of a project; the number before its first run if it has none.
pub async fn newest(connection: &mut PgExecutor<'_>, project: ProjectNumber) -> Result<i64, Fault> {
    const NEWEST: &str = "SELECT run FROM runs WHERE run > $1 AND run <= $2 ORDER BY run DESC LIMIT 1";
    let newest = sqlx::query_scalar(NEWEST).bind(project.before_runs()).bind(project.last_run());
    Ok(newest.fetch_optional(connection).await?.unwrap_or(project.before_runs()))
}

/// One page of runs of a project, newest first.
pub async fn list(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    query: &RunQuery,
) -> Result<RunsPage, Fault> {
    // The sizes of the documents are summed before the documents are read; the first run is returned regardless of
    // size.
    const LIST: &str = concat!(
        "WITH found AS (SELECT * FROM runs WHERE run < $7 AND run >= $8 AND ",
        matching!(),
        " ORDER BY run DESC LIMIT $9), weighed AS (SELECT found.*, coalesce((SELECT sum(octet_length(json)) \
         FROM run_documents w WHERE w.run = found.run), 0) AS bytes FROM found) ",
        select!(
            "(SELECT weighed.*, sum(bytes) OVER (ORDER BY run DESC ROWS UNBOUNDED PRECEDING) - bytes AS before \
             FROM weighed)",
            "r.before <= $10 ORDER BY r.run DESC"
        )
    );
    let before = query.before.unwrap_or(i64::MAX).min(newest(&mut *connection, project).await? + 1);
    let first = project.before_runs() + 1;
    let oldest = before.saturating_sub(MAX_SCANNED_RUNS).max(first);
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let rows: Vec<RunRow> = bound!(sqlx::query_as(LIST), &query.filter)
        .bind(before)
        .bind(oldest)
        .bind(limit)
        .bind(MAX_PAGE_BYTES)
        .fetch_all(connection)
        .await?;
    let bytes: usize = rows.iter().map(RunRow::document_bytes).sum();
    let is_cut = rows.len() >= query.limit || i64::try_from(bytes).unwrap_or(i64::MAX) > MAX_PAGE_BYTES;
    let stopped_at = rows.last().filter(|_| is_cut).map_or(oldest, |row| row.run);
    let runs = rows.into_iter().map(RunRow::into_run).collect::<crate::domain::Result<Vec<_>>>()?;
    Ok(RunsPage { runs, next: (stopped_at > first).then_some(stopped_at) })
}

/// Number of matching runs of a project.
pub async fn count(connection: &mut PgExecutor<'_>, project: ProjectNumber, filter: &RunFilter) -> Result<u64, Fault> {
    const COUNT: &str = concat!("SELECT count(*) FROM runs WHERE run > $7 AND run <= $8 AND ", matching!());
    let count: i64 = bound!(sqlx::query_scalar(COUNT), filter)
        .bind(project.before_runs())
        .bind(project.last_run())
        .fetch_one(connection)
        .await?;
    Ok(count.unsigned_abs())
}

/// Ids of at most `limit` matching runs of a project after the newest `offset` runs.
pub async fn ids_at(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    filter: &RunFilter,
    offset: u64,
    limit: usize,
) -> Result<Vec<RunId>, Fault> {
    const AT: &str = concat!(
        "SELECT run_id FROM runs WHERE run > $7 AND run <= $8 AND ",
        matching!(),
        " ORDER BY run DESC LIMIT $9 OFFSET $10"
    );
    let ids: Vec<String> = bound!(sqlx::query_scalar(AT), filter)
        .bind(project.before_runs())
        .bind(project.last_run())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let run_id = |id: String| RunKey::from_stored(&id).map(|key| key.run_id).ok_or_else(|| Error::StoreDamaged.into());
    ids.into_iter().map(run_id).collect()
}

/// The error of a run that does not exist.
pub fn not_found(key: &RunKey) -> Fault {
    Error::RunNotFound { run_id: key.run_id.to_string() }.into()
}
