//! One event by its id.

use crate::domain::{Error, Event, EventId, RunId};
use crate::store::{ProjectNumber, RunKey, ids};

use super::runs;
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_row::{EventRow, event_columns};

const BY_ID: &str = concat!(
    "SELECT ",
    event_columns!("e.payload::text"),
    " FROM events e JOIN runs r ON r.run = e.run WHERE e.given AND e.event_id = $1 \
     AND e.run > $2 AND e.run <= $3 LIMIT 1"
);
const BY_ID_IN_RUN: &str = concat!(
    "SELECT ",
    event_columns!("e.payload::text"),
    " FROM events e JOIN runs r ON r.run = e.run WHERE e.given AND e.event_id = $1 AND e.run = $2"
);
const BY_SEQ: &str = concat!(
    "SELECT ",
    event_columns!("e.payload::text"),
    " FROM events e JOIN runs r ON r.run = e.run LEFT JOIN run_retention k ON k.run = e.run \
     WHERE e.run = $2 AND e.seq = $3 AND e.event_id = $1 AND e.seq >= coalesce(k.first_seq, 1)"
);

/// Finds the event in one run, or in any run of the project.
pub async fn event(
    connection: &mut PgExecutor<'_>,
    project: ProjectNumber,
    run_id: Option<&RunId>,
    event_id: &EventId,
) -> Result<Event, Fault> {
    let run = match run_id {
        Some(run_id) => Some(runs::scope_end(connection, &RunKey::new(project, run_id.clone())).await?.0),
        None => None,
    };
    // An assigned id encodes run and seq.
    let is_ours = |of: i64| run.map_or(ProjectNumber::of_run(of) == project, |run| run == of);
    let assigned = ids::assigned_place(event_id).filter(|(of, _)| is_ours(*of));
    if let Some((run, seq)) = assigned {
        let query = sqlx::query_as::<_, EventRow>(BY_SEQ).bind(event_id.as_str()).bind(run).bind(seq.cast_signed());
        if let Some(row) = query.fetch_optional(&mut *connection).await? {
            return event_of(row);
        }
    }
    let query = match run {
        Some(run) => sqlx::query_as::<_, EventRow>(BY_ID_IN_RUN).bind(event_id.as_str()).bind(run),
        None => {
            let query = sqlx::query_as::<_, EventRow>(BY_ID).bind(event_id.as_str());
            query.bind(project.before_runs()).bind(project.last_run())
        }
    };
    match query.fetch_optional(connection).await? {
        Some(row) => event_of(row),
        None => Err(Error::EventNotFound { event_id: event_id.to_string() }.into()),
    }
}

fn event_of(row: EventRow) -> Result<Event, Fault> {
    Ok(row.into_event()?.ok_or(Error::StoreDamaged)?.0)
}
