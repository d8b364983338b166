//! Statements of one commit, which belongs to one project. Locks are taken in a fixed order, so that replicas never
//! deadlock: existing runs in the order of their ids, then new runs in the same order, then the row of the project's feed
//! as late as possible.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{AgentName, Error, EventType, Run, StructureId};
use crate::store::commit::plan::{PlannedRun, RunState};
use crate::store::project::{position_of, stored_run_id};
use crate::store::run_row::{RunRow, changed_documents, changes_more, usage_json};
use crate::store::{ProjectNumber, RunKey};

use super::imported;
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::connect::session::NotifyIdentity;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_columns::{EventColumns, Json};
use crate::store::postgres::feed_row;

const LOCK: &str = "SELECT run FROM runs WHERE run_id = ANY($1) ORDER BY run_id FOR NO KEY UPDATE";

/// Separate from [`LOCK`]: a statement that waited for a lock sees the current version of the locked row, but other
/// tables as of the start of the statement.
const HEADS: &str = "SELECT run, run_id, status, last_seq, agent_name, structure_id, created_at, updated_at, \
    started_at, completed_at, usage, ended_by, output_at, NULL::text AS output, NULL::text AS error, \
    NULL::text AS status_detail, NULL::text AS pending_inputs, \
    (SELECT json_agg(CASE kind WHEN 'pending_input' THEN 'pending_input:' || \
                         substring(json FROM '.requested_seq.:([0-9]+).$') || '?' ELSE kind END)::text \
     FROM run_documents d WHERE d.run = r.run AND starts_with(kind, 'pending_input') AND json IS NOT NULL) \
    AS question_kinds FROM runs r WHERE run = ANY($1)";

const APPEND: &str = "SELECT append_events($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
    $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)";

/// Locks these runs of a project until the end of the transaction and returns their stored states; a missing run gets a new
/// number.
pub async fn run_states(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    keys: &[&RunKey],
    now: Timestamp,
) -> Result<HashMap<RunKey, RunState>, Fault> {
    let mut wanted: Vec<String> = keys.iter().map(|key| key.stored().into_owned()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let locked: Vec<i64> = sqlx::query_scalar(LOCK).bind(&wanted).fetch_all(&mut *connection).await?;
    let rows: Vec<RunRow> = match locked.is_empty() {
        true => Vec::new(),
        false => sqlx::query_as(HEADS).bind(&locked).fetch_all(&mut *connection).await?,
    };
    let mut run_states = HashMap::with_capacity(wanted.len());
    for row in rows {
        let number = row.run;
        let state = RunState { number, run: row.into_run()? };
        run_states.insert(state.key(), state);
    }
    let missing: Vec<&&RunKey> = keys.iter().filter(|key| !run_states.contains_key(**key)).collect();
    if missing.is_empty() {
        return Ok(run_states);
    }
    let count = i64::try_from(missing.len()).unwrap_or(i64::MAX);
    let numbers: Vec<i64> = sqlx::query_scalar("SELECT nextval($2::text::regclass) FROM generate_series(1, $1)")
        .bind(count)
        .bind(run_numbers(project))
        .fetch_all(connection)
        .await?;
    // New runs are numbered in the order of the appends, so a later run has a higher number. A run named by several
    // appends wastes numbers.
    for (key, number) in missing.into_iter().zip(numbers) {
        let number = project.before_runs() + number;
        run_states.entry((*key).clone()).or_insert_with(|| RunState { number, run: Run::new(key.run_id.clone(), now) });
    }
    Ok(run_states)
}

/// Name of the sequence of a project's run numbers.
fn run_numbers(project: ProjectNumber) -> String {
    match project {
        ProjectNumber::DEFAULT => "run_numbers".to_owned(),
        project => format!("run_numbers_{project}"),
    }
}

/// Writes runs and events of one project and returns the position of the last event; `None`, without any change, if the stored state
/// of a run differs from `head` or an event id already exists. `notify` holds the channels and the sender name of
/// this replica.
pub async fn append<'a>(
    connection: &mut PgExecutor<'_>,
    runs: &'a [PlannedRun],
    columns: EventColumns<'a>,
    head: impl Fn(&RunKey) -> Option<&'a RunState>,
    notify: Option<&NotifyIdentity>,
) -> Result<Option<u64>, Fault> {
    let project = runs.first().map_or(ProjectNumber::DEFAULT, |planned| planned.head.project());
    let mut in_order: Vec<&PlannedRun> = runs.iter().collect();
    in_order.sort_unstable_by_key(|planned| &planned.head.run.run_id);
    let mut known = CachedRuns::default();
    let (mut others, mut documents) = (Vec::new(), Vec::new());
    for planned in in_order {
        let after = &planned.head;
        let before = head(&after.key()).filter(|before| before.run.last_seq > 0);
        if let Some(before) = before {
            known.push(before, after);
        }
        if before.is_none_or(|before| changes_more(&before.run, &after.run)) {
            others.push(RunColumns::of(after));
        }
        let changed = changed_documents(&planned.documents).into_iter();
        documents.extend(changed.map(|(kind, json)| Document { run: after.number, kind, json }));
    }
    let query = sqlx::query_scalar::<_, Option<i64>>(APPEND);
    let query = known.bind(query).bind(rows(&others)?.map(Json)).bind(rows(&documents)?.map(Json));
    let channel = notify.map(|names| names.channel_of(project));
    let announcer = notify.map(|names| names.announcer.as_str());
    failpoint!("postgres-append-before", Fault::from);
    let query = columns.bind(query).bind(feed_row::id_of(project)).bind(channel).bind(announcer);
    let last = query.fetch_one(&mut *connection).await?;
    failpoint!("postgres-append-after", Fault::from);
    if last.is_some() {
        imported::write(connection, runs, |planned| {
            head(&planned.head.key()).is_none_or(|head| head.run.last_seq == 0)
        })
        .await?;
    }
    Ok(last.map(|last| position_of(last.unsigned_abs())))
}

/// Encodes rows as JSON for `json_populate_recordset`; `None` if there are no rows.
fn rows(rows: &[impl Serialize]) -> Result<Option<String>, Fault> {
    if rows.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(rows).map(Some).map_err(|cause| Fault::Rejected(Error::internal(cause)))
}

/// Existing runs: expected seq and time before the commit, new seq and time after the commit.
#[derive(Default)]
struct CachedRuns {
    run: Vec<i64>,
    known_seq: Vec<i64>,
    known_time: Vec<String>,
    last_seq: Vec<i64>,
    time: Vec<String>,
}

type Query<'q> =
    sqlx::query::QueryScalar<'q, sqlx::Postgres, Option<i64>, <sqlx::Postgres as sqlx::Database>::Arguments>;

impl CachedRuns {
    fn push(&mut self, before: &RunState, after: &RunState) {
        self.run.push(before.number);
        self.known_seq.push(before.run.last_seq.cast_signed());
        self.known_time.push(before.run.updated_at.to_string());
        self.last_seq.push(after.run.last_seq.cast_signed());
        self.time.push(after.run.updated_at.to_string());
    }

    fn bind(self, query: Query<'_>) -> Query<'_> {
        query.bind(self.run).bind(self.known_seq).bind(self.known_time).bind(self.last_seq).bind(self.time)
    }
}

/// A row of `runs`; the field names are the column names.
#[derive(Serialize)]
struct RunColumns<'a> {
    run: i64,
    run_id: Cow<'a, str>,
    status: i64,
    last_seq: u64,
    agent_name: Option<&'a str>,
    structure_id: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    usage: Option<String>,
    ended_by: Option<&'a str>,
    output_at: Option<Timestamp>,
}

impl<'a> RunColumns<'a> {
    fn of(head: &'a RunState) -> Self {
        let run = &head.run;
        Self {
            run: head.number,
            run_id: stored_run_id(head.project(), run.run_id.as_str()),
            status: run.status as i64,
            last_seq: run.last_seq,
            agent_name: run.agent_name.as_ref().map(AgentName::as_str),
            structure_id: run.structure_id.as_ref().map(StructureId::as_str),
            created_at: run.created_at,
            updated_at: run.updated_at,
            started_at: run.started_at,
            completed_at: run.completed_at,
            usage: run.usage.as_ref().map(usage_json),
            ended_by: run.ended_by.as_ref().map(EventType::as_str),
            output_at: run.output_at,
        }
    }
}

/// A row of `run_documents`.
#[derive(Serialize)]
struct Document {
    run: i64,
    kind: Cow<'static, str>,
    json: Option<String>,
}
