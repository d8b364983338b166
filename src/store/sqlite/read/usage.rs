//! Sums over the column `usage` of `runs`.

use sqlx::SqlitePool;

use super::run_filter::{bound, matches};
use super::runs::newest;
use crate::domain::usage::{UsageGrouping, UsageReport};
use crate::domain::{Error, Result};
use crate::store::sqlite::error::from_sqlx;
use crate::store::usage::{UsageRow, max_counted};
use crate::store::{ProjectNumber, UsageQuery};

/// A row of the result.
#[derive(sqlx::FromRow)]
struct CountedRow {
    #[sqlx(flatten)]
    sums: UsageRow,
    /// Number of runs whose usage is no JSON.
    damaged: i64,
}

/// Sum of a member of the usage.
macro_rules! sum {
    ($member:literal) => {
        concat!("coalesce(sum(min(usage ->> '$.", $member, "', ", max_counted!(), ")), 0) AS ", $member, ", ")
    };
}

/// Sums over the usage of the matching runs of a project.
pub async fn report(readers: &SqlitePool, project: ProjectNumber, query: &UsageQuery) -> Result<UsageReport> {
    let (first, newest) = (project.before_runs() + 1, newest(readers, project).await?);
    let oldest = query.oldest(first, newest);
    let rows: Vec<CountedRow> = bound!(sqlx::query_as(sqlx::AssertSqlSafe(sql(query))), &query.filter)
        .bind(oldest)
        .bind(newest)
        .bind(i64::from(query.max_groups))
        .fetch_all(readers)
        .await
        .map_err(from_sqlx)?;
    let damaged: i64 = rows.iter().map(|row| row.damaged).sum();
    if damaged > 0 {
        tracing::error!(runs = damaged, "damaged: the usage of rows of the table `runs`");
        return Err(Error::StoreDamaged);
    }
    query.report(rows.into_iter().map(|row| row.sums).collect(), oldest == first)
}

/// The statement: sums by group, then the groups beyond the maximum as one.
fn sql(query: &UsageQuery) -> String {
    let key = match query.group_by {
        None => "''",
        Some(UsageGrouping::Agent) => "coalesce(agent_name, '')",
        // PostgreSQL has no text with a NUL, so both stores show another character in its place.
        Some(UsageGrouping::Model) => "coalesce(replace(usage, '\\u0000', '\\ufffd') ->> '$.model', '')",
        Some(UsageGrouping::Day) => "substr(created_at, 1, 10)",
        Some(UsageGrouping::Status) => "cast(status AS text)",
    };
    let sums = concat!(
        sum!("prompt_tokens"),
        sum!("completion_tokens"),
        sum!("total_tokens"),
        "total(min(usage ->> '$.cost_usd', ",
        max_counted!(),
        ")) AS cost_usd"
    );
    format!(
        "WITH sums AS (
            SELECT {key} AS key, count(*) AS runs, {sums}, sum(is_damaged) AS damaged
            FROM (SELECT r.agent_name, r.created_at, r.status, r.usage IS NOT NULL AND NOT json_valid(r.usage) AS is_damaged,
                         CASE WHEN json_valid(r.usage) THEN r.usage END AS usage
                  FROM runs r WHERE {} AND r.run >= ?7 AND r.run <= ?8)
            GROUP BY 1),
        ranked AS (
            SELECT *, row_number() OVER (ORDER BY cost_usd DESC, total_tokens DESC, runs DESC, key) AS place FROM sums)
        SELECT max(CASE WHEN place <= ?9 THEN key END) AS key, sum(runs) AS runs, sum(prompt_tokens) AS prompt_tokens,
               sum(completion_tokens) AS completion_tokens, sum(total_tokens) AS total_tokens,
               total(cost_usd) AS cost_usd, sum(damaged) AS damaged
        FROM ranked GROUP BY min(place, ?9 + 1) ORDER BY min(place)",
        matches(&query.filter)
    )
}
