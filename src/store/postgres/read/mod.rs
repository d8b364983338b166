//! Pages of a run and of the feed. The end of the scope is read before the events, so a page without a limit reaches at
//! least to the reported end.

pub mod find;
mod run_filter;
pub mod runs;
pub mod usage;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use crate::domain::{Error, Result, RunStatus};
use crate::store::project::position_of;
use crate::store::{Commit, Page, ProjectNumber, Range, ReadFrom, RunKey, ScopeEnd};

use super::connect::executor::PgExecutor;
use super::error::Fault;
use super::event_row::{EventRow, Rows, event_columns};
use super::feed_row;
use super::positions::Positions;

/// Query of a page. The server applies the byte limit: `before` is the size of all earlier events of the page.
macro_rules! page {
    ($where:literal, $order:literal) => {
        concat!(
            "SELECT ",
            event_columns!("e.payload::text"),
            " FROM (SELECT *, sum(bytes) OVER (ORDER BY ",
            $order,
            " ROWS UNBOUNDED PRECEDING) - bytes AS before FROM events WHERE ",
            $where,
            " ORDER BY ",
            $order,
            " LIMIT $3) e JOIN runs r ON r.run = e.run WHERE e.before <= $4 ORDER BY e.",
            $order
        )
    };
}

const FEED_ASCENDING: &str = page!("pos > $1 AND pos <= $2", "pos");
const FEED_DESCENDING: &str = page!("pos < $1 AND pos <= $2 AND pos > $5", "pos DESC");
const RUN_ASCENDING: &str = page!("run = $2 AND seq > $1", "seq");
const RUN_DESCENDING: &str = page!("run = $2 AND seq < $1", "seq DESC");

/// `run + 0` prevents the use of the index on `(run, seq)`, which would read a long run completely; the index on `pos`
/// is used.
const FEED_OF_RUNS: &str =
    page!("pos > $1 AND pos <= $2 AND run + 0 = ANY (ARRAY(SELECT run FROM runs WHERE run_id = ANY($5)))", "pos");

/// Position of the last event of a feed.
pub async fn feed_end(connection: &mut PgExecutor<'_>, project: ProjectNumber) -> Result<u64, Fault> {
    const END: &str = "SELECT last_pos FROM feed WHERE id = $1";
    let last: i64 = sqlx::query_scalar(END).bind(feed_row::id_of(project)).fetch_one(connection).await?;
    Ok(position_of(last.unsigned_abs()))
}

/// Positions of the last events of all feeds.
pub async fn feed_ends(connection: &mut PgExecutor<'_>) -> Result<Positions, sqlx::Error> {
    let rows: Vec<(i16, i64)> =
        sqlx::query_as("SELECT id, last_pos FROM feed ORDER BY id").fetch_all(connection).await?;
    let end = |(id, last): (i16, i64)| Some((feed_row::project_of(id)?, position_of(last.unsigned_abs())));
    Ok(rows.into_iter().filter_map(end).collect())
}

/// A page of a feed.
pub async fn feed_page(connection: &mut PgExecutor<'_>, project: ProjectNumber, range: Range) -> Result<Page, Fault> {
    let scope_end = ScopeEnd { last: feed_end(connection, project).await?, status: RunStatus::Unspecified };
    let rows = feed_rows(connection, project, range, None).await?;
    Ok(Page {
        chunks: in_order(Rows::encode(rows, range.from.is_descending())?.feed_chunks(), range),
        scope_end,
        first: 1,
    })
}

/// A page of one run.
pub async fn run_page(connection: &mut PgExecutor<'_>, key: &RunKey, range: Range) -> Result<Page, Fault> {
    let (run, scope_end) = runs::scope_end(connection, key).await?;
    let sql = if range.from.is_descending() { RUN_DESCENDING } else { RUN_ASCENDING };
    let rows = page(sql, run, range).fetch_all(connection).await?;
    Ok(Page {
        chunks: in_order(Rows::encode(rows, range.from.is_descending())?.run_chunks(), range),
        scope_end,
        first: 1,
    })
}

/// Last seq of a run at or before this position of its feed; 0 if there is none.
pub async fn last_seq_at(connection: &mut PgExecutor<'_>, key: &RunKey, position: u64) -> Result<u64, Fault> {
    let (run, _) = runs::scope_end(connection, key).await?;
    const LAST: &str = "SELECT seq FROM events WHERE run = $1 AND pos <= $2 ORDER BY seq DESC LIMIT 1";
    let query = sqlx::query_scalar(LAST).bind(run).bind(signed(key.project.pos(position)));
    let last: Option<i64> = query.fetch_optional(connection).await?;
    Ok(last.unwrap_or(0).unsigned_abs())
}

/// Events of a feed up to the position `to`, in reading order; `None`: up to the end of the feed.
pub async fn feed_rows(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    range: Range,
    to: Option<u64>,
) -> Result<Vec<EventRow>, Fault> {
    let (range, to) = (in_log(project, range), signed(project.pos(to.unwrap_or(u64::MAX))));
    let query = match range.from.is_descending() {
        true => page(FEED_DESCENDING, to, range).bind(signed(project.pos(0))),
        false => page(FEED_ASCENDING, to, range),
    };
    Ok(query.fetch_all(connection).await?)
}

/// Events of these runs of a project in a part of its feed, ascending.
pub async fn feed_rows_of(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    range: Range,
    to: u64,
    runs: &[RunKey],
) -> Result<Vec<EventRow>, Fault> {
    let run_ids: Vec<String> = runs.iter().map(|run| run.stored().into_owned()).collect();
    let query = page(FEED_OF_RUNS, signed(project.pos(to)), in_log(project, range)).bind(run_ids);
    Ok(query.fetch_all(connection).await?)
}

/// Events of all projects, ascending. The range is one of stored positions.
pub async fn log_rows(connection: &mut PgExecutor<'_>, range: Range) -> Result<Vec<EventRow>, Fault> {
    Ok(page(FEED_ASCENDING, i64::MAX, range).fetch_all(connection).await?)
}

/// The range of stored positions for a range of positions in the feed of a project.
fn in_log(project: ProjectNumber, range: Range) -> Range {
    let from = match range.from {
        ReadFrom::After(position) => ReadFrom::After(project.pos(position)),
        ReadFrom::Before(position) => ReadFrom::Before(project.pos(position)),
        ReadFrom::End => ReadFrom::End,
    };
    Range { from, ..range }
}

/// Binds the parameters of a page query. `of` is the parameter `$2`: the number of the run, or the last position.
fn page<'q>(sql: &'static str, of: i64, range: Range) -> QueryAs<'q, Postgres, EventRow, PgArguments> {
    let start = match range.from {
        ReadFrom::After(offset) | ReadFrom::Before(offset) => signed(offset),
        ReadFrom::End => i64::MAX,
    };
    sqlx::query_as(sql)
        .bind(start)
        .bind(of)
        .bind(i64::try_from(range.max_events).unwrap_or(i64::MAX))
        .bind(i64::try_from(range.max_bytes).unwrap_or(i64::MAX))
}

fn in_order<T>(mut chunks: Vec<T>, range: Range) -> Vec<T> {
    if range.from.is_descending() {
        chunks.reverse();
    }
    chunks
}

/// Builds the announcement of ascending rows of the feed of a project, up to the first damaged event.
pub fn commit(project: ProjectNumber, rows: Vec<EventRow>) -> Result<Commit, Error> {
    Ok(Rows::encode(rows, false)?.commit().unwrap_or_else(|| Commit::nothing(project, 0)))
}

/// Converts an offset. No event has an offset above 2^63 - 1.
fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
