//! Pages of a run and of the feed. The end of the scope is read before the events, so a page without a limit reaches at
//! least to the reported end.

pub mod find;
pub mod runs;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use crate::domain::{Error, Result, RunId, RunStatus};
use crate::store::{Commit, Page, Range, ReadFrom, ScopeEnd};

use super::connect::executor::PgExecutor;
use super::error::Fault;
use super::event_row::{EventRow, Rows, event_columns};

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
const FEED_DESCENDING: &str = page!("pos < $1 AND pos <= $2", "pos DESC");
const RUN_ASCENDING: &str = page!("run = $2 AND seq > $1", "seq");
const RUN_DESCENDING: &str = page!("run = $2 AND seq < $1", "seq DESC");

/// `run + 0` prevents the use of the index on `(run, seq)`, which would read a long run completely; the index on `pos`
/// is used.
const FEED_OF_RUNS: &str =
    page!("pos > $1 AND pos <= $2 AND run + 0 = ANY (ARRAY(SELECT run FROM runs WHERE run_id = ANY($5)))", "pos");

/// Position of the last event of the feed.
pub async fn feed_end(connection: &mut PgExecutor<'_>) -> Result<u64, Fault> {
    let last: i64 = sqlx::query_scalar("SELECT last_pos FROM feed WHERE id = 1").fetch_one(connection).await?;
    Ok(last.unsigned_abs())
}

/// A page of the feed.
pub async fn feed_page(connection: &mut PgExecutor<'_>, range: Range) -> Result<Page, Fault> {
    let scope_end = ScopeEnd { last: feed_end(connection).await?, status: RunStatus::Unspecified };
    let rows = feed_rows(connection, range, None).await?;
    Ok(Page { chunks: in_order(Rows::encode(rows, range.from.is_descending())?.feed_chunks(), range), scope_end })
}

/// A page of one run.
pub async fn run_page(connection: &mut PgExecutor<'_>, run_id: &RunId, range: Range) -> Result<Page, Fault> {
    let (run, scope_end) = runs::scope_end(connection, run_id).await?;
    let sql = if range.from.is_descending() { RUN_DESCENDING } else { RUN_ASCENDING };
    let rows = rows(connection, sql, run, range).await?;
    Ok(Page { chunks: in_order(Rows::encode(rows, range.from.is_descending())?.run_chunks(), range), scope_end })
}

/// Last seq of a run at or before this position of the feed; 0 if there is none.
pub async fn last_seq_at(connection: &mut PgExecutor<'_>, run_id: &RunId, position: u64) -> Result<u64, Fault> {
    let (run, _) = runs::scope_end(connection, run_id).await?;
    const LAST: &str = "SELECT seq FROM events WHERE run = $1 AND pos <= $2 ORDER BY seq DESC LIMIT 1";
    let query = sqlx::query_scalar(LAST).bind(run).bind(signed(position));
    let last: Option<i64> = query.fetch_optional(connection).await?;
    Ok(last.unwrap_or(0).unsigned_abs())
}

/// Events of the feed up to the position `to`, in reading order; `None`: up to the end of the feed.
pub async fn feed_rows(connection: &mut PgExecutor<'_>, range: Range, to: Option<u64>) -> Result<Vec<EventRow>, Fault> {
    let sql = if range.from.is_descending() { FEED_DESCENDING } else { FEED_ASCENDING };
    rows(connection, sql, to.map_or(i64::MAX, signed), range).await
}

/// Events of these runs in a part of the feed, ascending.
pub async fn feed_rows_of(
    connection: &mut PgExecutor<'_>,
    range: Range,
    to: u64,
    run_ids: &[RunId],
) -> Result<Vec<EventRow>, Fault> {
    let run_ids: Vec<&str> = run_ids.iter().map(RunId::as_str).collect();
    Ok(page(FEED_OF_RUNS, signed(to), range).bind(run_ids).fetch_all(connection).await?)
}

async fn rows(
    connection: &mut PgExecutor<'_>,
    sql: &'static str,
    of: i64,
    range: Range,
) -> Result<Vec<EventRow>, Fault> {
    Ok(page(sql, of, range).fetch_all(connection).await?)
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

/// Builds the announcement of ascending rows of the feed, up to the first damaged event.
pub fn commit(rows: Vec<EventRow>) -> Result<Commit, Error> {
    Ok(Rows::encode(rows, false)?.commit())
}

/// Converts an offset. No event has an offset above 2^63 - 1.
fn signed(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}
