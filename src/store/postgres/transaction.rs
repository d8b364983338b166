//! The statements of one commit. Locks are taken in one order, so that replicas never wait for each other in a circle:
//! the rows of the runs in the order of their ids, then new runs in that order, then the feed's row, as late as possible.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::PgConnection;

use crate::domain::projection::Documents;
use crate::domain::{AgentName, EventType, Run, RunId, StructureId};
use crate::store::plan::{self, Head, PlannedRun};
use crate::store::run_row::{RunRow, changed_documents, usage_json};

use super::error::Fault;
use super::event_row::EventColumns;

const HEADS: &str = "SELECT run, run_id, status, last_seq, agent_name, structure_id, created_at, updated_at, \
    started_at, completed_at, usage, ended_by, output_at, NULL::text AS output, NULL::text AS error, \
    NULL::text AS pending_input, NULL::text AS status_detail \
    FROM runs WHERE run_id = ANY($1) ORDER BY run_id FOR NO KEY UPDATE";

const UPSERT_RUNS: &str = "INSERT INTO runs (run, run_id, status, last_seq, agent_name, structure_id, created_at, \
    updated_at, started_at, completed_at, usage, ended_by, output_at) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], \
    $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[]) AS w \
    (run, run_id, status, last_seq, agent_name, structure_id, created_at, updated_at, started_at, completed_at, \
    usage, ended_by, output_at) ORDER BY w.run_id COLLATE \"C\" \
    ON CONFLICT (run) DO UPDATE SET status = excluded.status, last_seq = excluded.last_seq, \
    agent_name = excluded.agent_name, structure_id = excluded.structure_id, updated_at = excluded.updated_at, \
    started_at = excluded.started_at, completed_at = excluded.completed_at, usage = excluded.usage, \
    ended_by = excluded.ended_by, output_at = excluded.output_at";

const UPSERT_DOCUMENTS: &str = "INSERT INTO run_documents (run, kind, json) \
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[]) \
    ON CONFLICT (run, kind) DO UPDATE SET json = excluded.json";

macro_rules! insert {
    ($tell:literal) => {
        concat!(
            "WITH f AS (UPDATE feed SET last_pos = last_pos + $1 WHERE id = 1 RETURNING last_pos - $1 AS before), \
             stored AS (INSERT INTO events (pos, run, seq, occurred_s, recorded_s, occurred_ns, recorded_ns, bytes, \
             status, origin, given, sensitive, event_id, event_type, agent_name, payload) \
             SELECT f.before + w.n, w.run, w.seq, w.occurred_s, w.recorded_s, w.occurred_ns, w.recorded_ns, w.bytes, \
             w.status, w.origin, w.given, w.sensitive, w.event_id, w.event_type, w.agent_name, w.payload::json \
             FROM f, unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[], $7::integer[], \
             $8::integer[], $9::smallint[], $10::smallint[], $11::boolean[], $12::boolean[], $13::text[], \
             $14::text[], $15::text[], $16::text[]) WITH ORDINALITY AS w (run, seq, occurred_s, recorded_s, \
             occurred_ns, recorded_ns, bytes, status, origin, given, sensitive, event_id, event_type, agent_name, \
             payload, n)) SELECT f.before",
            $tell,
            " FROM f"
        )
    };
}

/// Gives positions and stores the events; returns the position before the first of them.
const INSERT: &str = insert!("");

/// Also tells the other replicas, after the commit: `$17` is the channel, `$18` who tells.
const INSERT_AND_NOTIFY: &str = insert!(", pg_notify($17, $18 || ':' || (f.before + $1))::text");

/// The runs as they are stored, locked until the end of the transaction, and new ones with numbers of their own.
pub async fn heads(
    connection: &mut PgConnection,
    run_ids: &[&RunId],
    now: Timestamp,
) -> Result<HashMap<RunId, Head>, Fault> {
    let mut wanted: Vec<&str> = run_ids.iter().map(|run_id| run_id.as_str()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let rows: Vec<RunRow> = sqlx::query_as(HEADS).bind(&wanted).fetch_all(&mut *connection).await?;
    let mut heads = HashMap::with_capacity(wanted.len());
    for row in rows {
        let number = row.run;
        let run = row.into_run()?;
        heads.insert(run.run_id.clone(), Head { number, run });
    }
    let missing: Vec<&&RunId> = run_ids.iter().filter(|run_id| !heads.contains_key(**run_id)).collect();
    if missing.is_empty() {
        return Ok(heads);
    }
    let count = i64::try_from(missing.len()).unwrap_or(i64::MAX);
    let numbers: Vec<i64> = sqlx::query_scalar("SELECT nextval('run_numbers') FROM generate_series(1, $1)")
        .bind(count)
        .fetch_all(connection)
        .await?;
    // In the order of the appends, so that a later run has a higher number. One that is named twice wastes a number.
    for (run_id, number) in missing.into_iter().zip(numbers) {
        heads.entry((*run_id).clone()).or_insert_with(|| Head { number, run: Run::new((*run_id).clone(), now) });
    }
    Ok(heads)
}

/// Writes runs and events; returns the position before the first of them. `tell` is the channel and who tells.
pub async fn write(
    connection: &mut PgConnection,
    runs: &[PlannedRun],
    columns: EventColumns<'_>,
    tell: Option<(&str, &str)>,
) -> Result<u64, Fault> {
    upsert_runs(connection, runs.iter().map(|planned| &planned.head)).await?;
    upsert_documents(connection, runs.iter().map(|planned| (planned.head.number, &planned.documents))).await?;
    let sql = if tell.is_some() { INSERT_AND_NOTIFY } else { INSERT };
    let count = columns.len();
    let mut query = columns.bind(sqlx::query_scalar::<_, i64>(sql).bind(count));
    if let Some((channel, teller)) = tell {
        query = query.bind(channel).bind(teller);
    }
    Ok(query.fetch_one(connection).await?.unsigned_abs())
}

async fn upsert_runs<'a>(
    connection: &mut PgConnection,
    heads: impl Iterator<Item = &'a Head> + Clone,
) -> Result<(), Fault> {
    let numbers = |of: fn(&Head) -> i64| heads.clone().map(of).collect::<Vec<i64>>();
    let texts = |of: fn(&Run) -> &str| heads.clone().map(|head| of(&head.run)).collect::<Vec<&str>>();
    let times = |of: fn(&Run) -> Option<Timestamp>| {
        heads.clone().map(|head| of(&head.run).map(|at| at.to_string())).collect::<Vec<Option<String>>>()
    };
    let names = |of: fn(&Run) -> Option<&str>| heads.clone().map(|head| of(&head.run)).collect::<Vec<_>>();
    sqlx::query(UPSERT_RUNS)
        .bind(numbers(|head| head.number))
        .bind(texts(|run| run.run_id.as_str()))
        .bind(numbers(|head| head.run.status as i64))
        .bind(numbers(|head| head.run.last_seq.cast_signed()))
        .bind(names(|run| run.agent_name.as_ref().map(AgentName::as_str)))
        .bind(names(|run| run.structure_id.as_ref().map(StructureId::as_str)))
        .bind(times(|run| Some(run.created_at)))
        .bind(times(|run| Some(run.updated_at)))
        .bind(times(|run| run.started_at))
        .bind(times(|run| run.completed_at))
        .bind(heads.clone().map(|head| head.run.usage.as_ref().map(usage_json)).collect::<Vec<_>>())
        .bind(names(|run| run.ended_by.as_ref().map(EventType::as_str)))
        .bind(times(|run| run.output_at))
        .execute(connection)
        .await?;
    Ok(())
}

async fn upsert_documents<'a>(
    connection: &mut PgConnection,
    changes: impl Iterator<Item = (i64, &'a Documents)>,
) -> Result<(), Fault> {
    let (mut runs, mut kinds, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (run, documents) in changes {
        for (kind, text) in changed_documents(documents) {
            runs.push(run);
            kinds.push(kind);
            texts.push(text);
        }
    }
    if !runs.is_empty() {
        sqlx::query(UPSERT_DOCUMENTS).bind(runs).bind(kinds).bind(texts).execute(connection).await?;
    }
    Ok(())
}

/// The last event of a commit: where it is, the whole commit is.
#[derive(Clone, Debug)]
pub struct Proof {
    pos: u64,
    run: i64,
    seq: u64,
    event_id: String,
}

impl Proof {
    /// Of a commit that ends at this position.
    pub fn of(runs: &[PlannedRun], last_position: u64) -> Option<Self> {
        let (run, planned) = plan::in_feed_order(runs).pop()?;
        let event = &planned.event;
        let (seq, event_id) = (event.seq, event.event_id.to_string());
        Some(Self { pos: last_position, run: run.head.number, seq, event_id })
    }

    /// Whether the commit took place. The feed's row is locked first: whoever tried to commit held it, so once we have it
    /// the try is over, however late its COMMIT reached the server.
    pub async fn holds(&self, connection: &mut PgConnection, begin: &str) -> Result<bool, Fault> {
        const STORED: &str =
            "SELECT EXISTS (SELECT FROM events WHERE pos = $1 AND run = $2 AND seq = $3 AND event_id = $4)";
        sqlx::raw_sql(sqlx::AssertSqlSafe(begin.to_owned())).execute(&mut *connection).await?;
        sqlx::query("SELECT FROM feed WHERE id = 1 FOR UPDATE").execute(&mut *connection).await?;
        let holds = sqlx::query_scalar(STORED)
            .bind(self.pos.cast_signed())
            .bind(self.run)
            .bind(self.seq.cast_signed())
            .bind(&self.event_id)
            .fetch_one(&mut *connection)
            .await?;
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
        Ok(holds)
    }
}
