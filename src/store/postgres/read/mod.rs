//! Pages of a run and of the feed. The extent of the scope is read before the events, so a page without a limit reaches at
//! least to the reported end. If retention has removed events in between, the page is read again.

mod extent;
pub mod find;
mod run_filter;
pub mod runs;
pub mod usage;

use std::collections::HashMap;

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
pub use extent::Extent;
use runs::RunExtent;

/// Query of a page. The server applies the byte limit: `before` is the size of all earlier events of the page.
macro_rules! page {
    ($where:literal, $and:literal, $order:literal) => {
        concat!(
            "SELECT ",
            event_columns!("e.payload::text"),
            " FROM (SELECT *, sum(bytes) OVER (ORDER BY ",
            $order,
            " ROWS UNBOUNDED PRECEDING) - bytes AS before FROM events WHERE ",
            $where,
            $and,
            " ORDER BY ",
            $order,
            " LIMIT $3) e JOIN runs r ON r.run = e.run WHERE e.before <= $4 ORDER BY e.",
            $order
        )
    };
}

/// Feed of the row `$5` of the table `feed`. Of the events before the first one of the feed only some are stored.
macro_rules! feed_page {
    ($where:literal, $order:literal) => {
        page!(
            $where,
            " AND pos >= coalesce((SELECT first_pos FROM feed_retention WHERE id = $5), ($5::bigint - 1 << 40) + 1)",
            $order
        )
    };
}

const LOG: &str = page!("pos > $1 AND pos <= $2", "", "pos");
const FEED_ASCENDING: &str = feed_page!("pos > $1 AND pos <= $2", "pos");
const FEED_DESCENDING: &str = feed_page!("pos < $1 AND pos <= $2", "pos DESC");
const RUN_ASCENDING: &str = page!("run = $2 AND seq > $1", "", "seq");
const RUN_DESCENDING: &str = page!("run = $2 AND seq < $1 AND seq >= $5", "", "seq DESC");

/// `run + 0` prevents the use of the index on `(run, seq)`, which would read a long run completely; the index on `pos`
/// is used.
const FEED_OF_RUNS: &str =
    page!("pos > $1 AND pos <= $2 AND run + 0 = ANY (ARRAY(SELECT run FROM runs WHERE run_id = ANY($5)))", "", "pos");

/// Position of the last event of a feed.
pub async fn feed_end(connection: &mut PgExecutor<'_>, project: ProjectNumber) -> Result<u64, Fault> {
    const END: &str = "SELECT last_pos FROM feed WHERE id = $1";
    let last: i64 = sqlx::query_scalar(END).bind(feed_row::id_of(project)).fetch_one(connection).await?;
    Ok(position_of(last.unsigned_abs()))
}

/// First and last position of a feed.
pub async fn feed_extent(connection: &mut PgExecutor<'_>, project: ProjectNumber) -> Result<Extent, Fault> {
    const EXTENT: &str =
        "SELECT f.last_pos, k.first_pos FROM feed f LEFT JOIN feed_retention k ON k.id = f.id WHERE f.id = $1";
    let (last, first): (i64, Option<i64>) =
        sqlx::query_as(EXTENT).bind(feed_row::id_of(project)).fetch_one(connection).await?;
    let position = |pos: i64| position_of(pos.unsigned_abs());
    Ok(Extent { first: first.map_or(1, position), last: position(last) })
}

/// Ends of all feeds at one moment, with their removals.
#[derive(Default)]
pub struct FeedEnds {
    /// Positions of the last events.
    pub ends: Positions,
    /// Number of removals in each feed that has any.
    pub removals: HashMap<ProjectNumber, u64>,
    /// The moment: a `pg_snapshot`.
    pub snapshot: String,
    /// Whether the table `replicas` has the replica.
    pub is_registered: bool,
    /// Whether the server that answered is a standby.
    pub is_standby: bool,
}

#[derive(sqlx::FromRow)]
struct FeedEndRow {
    id: i16,
    last_pos: i64,
    removals: Option<i64>,
    snapshot: String,
    is_registered: bool,
    is_standby: bool,
}

/// Ends and removals of all feeds, for the replica with this name.
pub async fn feed_ends(connection: &mut PgExecutor<'_>, replica: &str) -> Result<FeedEnds, sqlx::Error> {
    const ENDS: &str = "SELECT f.id, f.last_pos, k.removals, pg_current_snapshot()::text AS snapshot, \
        EXISTS (SELECT FROM replicas WHERE name = $1) AS is_registered, pg_is_in_recovery() AS is_standby \
        FROM feed f LEFT JOIN feed_retention k ON k.id = f.id ORDER BY f.id";
    let rows: Vec<FeedEndRow> = sqlx::query_as(ENDS).bind(replica).fetch_all(connection).await?;
    let mut found = FeedEnds::default();
    for FeedEndRow { id, last_pos: last, removals, snapshot, is_registered, is_standby } in rows {
        (found.snapshot, found.is_registered, found.is_standby) = (snapshot, is_registered, is_standby);
        let Some(project) = feed_row::project_of(id) else { continue };
        found.ends.set(project, position_of(last.unsigned_abs()));
        found.removals.extend(removals.map(|removals| (project, removals.unsigned_abs())));
    }
    Ok(found)
}

/// A page of a feed.
pub async fn feed_page(connection: &mut PgExecutor<'_>, project: ProjectNumber, range: Range) -> Result<Page, Fault> {
    let mut before = None;
    loop {
        let extent = feed_extent(connection, project).await?;
        extent.check(range.from)?;
        let rows = feed_rows(connection, project, range, None).await?;
        let begin = rows.first().map(|row| position_of(row.pos.unsigned_abs()));
        // A gap that stays is no removal.
        if extent.may_begin(range.from, begin) || before.replace(extent) == Some(extent) {
            let chunks = in_order(Rows::encode(rows, range.from.is_descending())?.feed_chunks(), range);
            let scope_end = ScopeEnd { last: extent.last, status: RunStatus::Unspecified };
            return Ok(Page { chunks, scope_end, first: extent.first });
        }
    }
}

/// A page of one run.
pub async fn run_page(connection: &mut PgExecutor<'_>, key: &RunKey, range: Range) -> Result<Page, Fault> {
    let mut before = None;
    loop {
        let RunExtent { run, scope_end, first, .. } = runs::extent(connection, key).await?;
        let extent = Extent { first, last: scope_end.last };
        extent.check(range.from)?;
        let rows = match range.from.is_descending() {
            true => page(RUN_DESCENDING, run, range).bind(signed(first)).fetch_all(&mut *connection).await?,
            false => run_rows(connection, run, range).await?,
        };
        let begin = rows.first().map(|row| row.seq.unsigned_abs());
        if extent.may_begin(range.from, begin) || before.replace(extent) == Some(extent) {
            let chunks = in_order(Rows::encode(rows, range.from.is_descending())?.run_chunks(), range);
            return Ok(Page { chunks, scope_end, first });
        }
    }
}

/// Events of a run, ascending.
pub async fn run_rows(connection: &mut PgExecutor<'_>, run: i64, range: Range) -> Result<Vec<EventRow>, Fault> {
    Ok(page(RUN_ASCENDING, run, range).fetch_all(connection).await?)
}

/// Last seq of a run at or before this position of its feed; 0 if there is none. Events that are not stored any more lie before
/// the first one of the feed; of a position that lies there, too, only stored events are known.
pub async fn last_seq_at(connection: &mut PgExecutor<'_>, key: &RunKey, position: u64) -> Result<u64, Fault> {
    const LAST: &str = "SELECT coalesce(\
        (SELECT seq FROM events WHERE run = r.run AND pos <= $2 ORDER BY seq DESC LIMIT 1), \
        CASE WHEN $2 >= (SELECT first_pos - 1 FROM feed_retention WHERE id = $3) \
        THEN coalesce((SELECT min(seq) FROM events WHERE run = r.run), r.last_seq + 1) - 1 END, 0) \
        FROM runs r WHERE r.run_id = $1";
    let query = sqlx::query_scalar(LAST).bind(key.stored()).bind(signed(key.project.pos(position)));
    let last: Option<i64> = query.bind(feed_row::id_of(key.project)).fetch_optional(connection).await?;
    Ok(last.ok_or_else(|| runs::not_found(key))?.unsigned_abs())
}

/// Events of a feed up to the position `to`, in reading order; `None`: up to the end of the feed.
pub async fn feed_rows(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    range: Range,
    to: Option<u64>,
) -> Result<Vec<EventRow>, Fault> {
    let (range, to) = (in_log(project, range), signed(project.pos(to.unwrap_or(u64::MAX))));
    let sql = if range.from.is_descending() { FEED_DESCENDING } else { FEED_ASCENDING };
    Ok(page(sql, to, range).bind(feed_row::id_of(project)).fetch_all(connection).await?)
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
    Ok(page(LOG, i64::MAX, range).fetch_all(connection).await?)
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
