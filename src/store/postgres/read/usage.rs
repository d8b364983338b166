//! Sums over the column `usage` of `runs`.

use super::run_filter::{bound, matching};
use super::runs::newest;
use crate::domain::usage::{UsageGrouping, UsageReport};
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;
use crate::store::usage::{UsageRow, max_counted};
use crate::store::{ProjectNumber, UsageQuery};

/// Sum of a member of the usage.
macro_rules! sum {
    ($member:literal) => {
        concat!("sum(least(coalesce(", $member, ", 0), ", max_counted!(), ")) AS ", $member)
    };
}

/// The statement for this key of a group: sums by group, then the groups beyond the maximum as one. A text in PostgreSQL has no
/// NUL, so another character is in its place in the name of a model.
macro_rules! usage {
    ($key:literal) => {
        concat!(
            "WITH sums AS (SELECT ",
            $key,
            " AS key, count(*) AS runs, ",
            sum!("prompt_tokens"),
            ", ",
            sum!("completion_tokens"),
            ", ",
            sum!("total_tokens"),
            ", ",
            sum!("cost_usd"),
            r" FROM runs LEFT JOIN LATERAL json_to_record(replace(usage, '\u0000', '\ufffd')::json) AS u
               (prompt_tokens numeric, completion_tokens numeric, total_tokens numeric, cost_usd double precision, model text)
               ON true WHERE ",
            matching!(),
            " AND run >= $7 AND run <= $8 GROUP BY 1), \
             ranked AS (SELECT *, row_number() OVER (ORDER BY cost_usd DESC, total_tokens DESC, runs DESC, \
             key COLLATE \"C\") AS place FROM sums) \
             SELECT max(CASE WHEN place <= $9 THEN key END) AS key, sum(runs)::bigint AS runs, \
             sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens, \
             sum(total_tokens)::bigint AS total_tokens, sum(cost_usd) AS cost_usd \
             FROM ranked GROUP BY least(place, $9 + 1) ORDER BY min(place)"
        )
    };
}

/// Sums over the usage of the matching runs of a project.
pub async fn report(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    query: &UsageQuery,
) -> Result<UsageReport, Fault> {
    let (first, newest) = (project.before_runs() + 1, newest(&mut *connection, project).await?);
    let oldest = query.oldest(first, newest);
    let sql = match query.group_by {
        None => usage!("''::text"),
        Some(UsageGrouping::Agent) => usage!("coalesce(agent_name, '')"),
        Some(UsageGrouping::Model) => usage!("coalesce(model, '')"),
        Some(UsageGrouping::Day) => usage!("left(created_at, 10)"),
        Some(UsageGrouping::Status) => usage!("status::text"),
    };
    let rows: Vec<UsageRow> = bound!(sqlx::query_as(sql), &query.filter)
        .bind(oldest)
        .bind(newest)
        .bind(i64::from(query.max_groups))
        .fetch_all(connection)
        .await?;
    Ok(query.report(rows, oldest == first)?)
}
