//! Lookup of an in-doubt commit.

use crate::domain::Error;
use crate::store::commit::plan;
use crate::store::commit::plan::PlannedRun;
use crate::store::project::position_of;

use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_columns::split;

/// Position of the last event of a commit to these runs, if the commit took place; a commit is atomic, so one event
/// proves all. The transaction of this connection holds the locks of the runs: any earlier holder has ended, and a
/// later one finds the runs changed or is the same commit.
///
/// An event that has lost its payload meanwhile, or whose payload was joined, is known by the rest. If it has another payload, or if
/// retention has removed an event with the seq whole, it may be that of another commit: the doubt stays.
pub async fn last_position(connection: &mut PgExecutor<'_>, runs: &[PlannedRun]) -> Result<Option<u64>, Fault> {
    const STORED: &str = "SELECT pos, payload::text = $6 OR removal IS NOT NULL OR joined_from IS NOT NULL FROM events \
        WHERE run = $1 AND seq = $2 AND event_id = $3 AND recorded_s = $4 AND recorded_ns = $5";
    const IS_GONE: &str = "SELECT EXISTS (SELECT FROM run_retention WHERE run = $1 AND first_seq > $2) \
        AND NOT EXISTS (SELECT FROM events WHERE run = $1 AND seq = $2)";
    let Some((run, planned)) = plan::in_feed_order(runs).pop() else { return Ok(None) };
    let event = &planned.event;
    let (seconds, nanos) = split(event.recorded_at);
    let (number, seq) = (run.head.number, event.seq.cast_signed());
    let found: Option<(i64, bool)> = sqlx::query_as(STORED)
        .bind(number)
        .bind(seq)
        .bind(event.event_id.as_str())
        .bind(seconds)
        .bind(nanos)
        .bind(event.payload.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    match found {
        Some((pos, true)) => return Ok(Some(position_of(pos.unsigned_abs()))),
        Some((_, false)) => return Err(Error::OutcomeUnknown.into()),
        None => {}
    }
    match sqlx::query_scalar(IS_GONE).bind(number).bind(seq).fetch_one(connection).await? {
        true => Err(Error::OutcomeUnknown.into()),
        false => Ok(None),
    }
}
