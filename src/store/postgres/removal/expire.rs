//! One slice of retention.

use jiff::Timestamp;
use sqlx::PgConnection;

use crate::domain::retention::Retention;
use crate::domain::{Removal, Result};
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::connect::readers::written;
use crate::store::postgres::error::Fault;
use crate::store::retention::Judge;
use crate::store::{Expired, ProjectNumber};

use super::Removals;
use super::rewrites::{self, Rewrites};
use super::slice::{Candidate, Outcome};
use super::state::{State, try_lock};

/// Limits of one slice. The byte limit bounds what the transaction writes and frees.
const MAX_EVENTS: i64 = 500;
const MAX_BYTES: i64 = 256 << 10;

/// The events after a position that is stored, also those before the first one of the feed: events of held runs are kept there,
/// and released runs lose them.
const CANDIDATES: &str = "SELECT e.pos, e.run, e.seq, e.event_type, e.recorded_s, e.recorded_ns, e.bytes, \
    e.removal IS NOT NULL AS is_removed, r.status AS run_status, coalesce(k.first_seq, 1) AS first_seq, \
    coalesce(k.held, false) AS held FROM \
    (SELECT pos, run, seq, event_type, recorded_s, recorded_ns, bytes, removal, \
    sum(bytes) OVER (ORDER BY pos ROWS UNBOUNDED PRECEDING) - bytes AS before FROM events \
    WHERE pos > $1 AND pos <= $2 ORDER BY pos LIMIT $3) e \
    JOIN runs r ON r.run = e.run LEFT JOIN run_retention k ON k.run = e.run WHERE e.before <= $4 ORDER BY e.pos";

impl Removals {
    /// Examines and removes the next events of a project, see [`Store::expire`](crate::store::Store::expire).
    pub async fn expire(
        &self,
        project: ProjectNumber,
        retention: &Retention,
        now: Timestamp,
        after: u64,
    ) -> Result<Expired> {
        let cleared = self.cleared.lock().get(&project).copied().filter(|_| after > 0).unwrap_or_default();
        let work = Work { project, retention, now, after, cleared };
        let (expired, cleared) = written!(&self.readers, connection => slice(connection, &work))?;
        self.cleared.lock().insert(project, cleared);
        failpoint!("postgres-expire-after", |error| Fault::from(error).into_error().after_commit());
        if expired.events > 0 {
            self.listener.removed(project);
        }
        Ok(expired)
    }
}

/// What a slice is asked for.
struct Work<'a> {
    project: ProjectNumber,
    retention: &'a Retention,
    now: Timestamp,
    after: u64,
    /// See [`Removals::cleared`].
    cleared: u64,
}

/// Examines one slice. Returns the result, and the new `cleared`.
async fn slice(connection: &mut PgConnection, work: &Work<'_>) -> Result<(Expired, u64), Fault> {
    failpoint!("postgres-expire-before", Fault::from);
    let Work { project, retention, now, after, cleared } = *work;
    let mut executor = PgExecutor::pooled(connection);
    if !try_lock(&mut executor, project).await? {
        return Ok((Expired { examined: after, is_elsewhere: true, ..Expired::default() }, cleared));
    }
    let mut state = State::read(&mut executor, project).await?;
    let was_counted = state.counted;
    let mut excess = 0;
    if let Some(max_bytes) = retention.max_bytes {
        state.count(&mut executor).await?;
        excess = state.bytes.saturating_sub(i64::try_from(max_bytes).unwrap_or(i64::MAX));
    }
    // Bytes above the maximum go from the oldest event on, wherever the caller is.
    let from = if excess > 0 { after.min(cleared.max(state.first - 1)) } else { after };
    let events: Vec<Candidate> = sqlx::query_as(CANDIDATES)
        .bind(project.pos(from).cast_signed())
        .bind(project.pos(u64::MAX).cast_signed())
        .bind(MAX_EVENTS)
        .bind(MAX_BYTES)
        .fetch_all(&mut executor)
        .await?;
    let judge = Judge { retention, now, last: state.last };
    let outcome = Outcome::of(&judge, excess, state.first, from, &events);
    let reached = if events.is_empty() { after } else { outcome.examined };
    let is_counted = retention.max_bytes.is_none() || state.counted >= state.last;
    let is_end = outcome.is_done || events.is_empty() || reached >= state.last;
    let is_changed = outcome.changes(&state);
    let expired = Expired {
        examined: reached.max(after),
        is_done: is_end && is_counted && from == after,
        is_elsewhere: false,
        is_changed,
        events: outcome.events,
        bytes: outcome.bytes,
        releases: state.releases,
    };
    let cleared = if excess > 0 { cleared.max(reached) } else { cleared };
    if is_changed {
        outcome.apply(&mut executor, &events, &mut state).await?;
        state.removals += 1;
    }
    if is_changed || state.counted != was_counted {
        state.write(&mut executor).await?;
    }
    failpoint!("postgres-expire-inside", Fault::from);
    Ok((expired, cleared))
}

impl Outcome {
    /// Whether anything changes.
    fn changes(&self, state: &State) -> bool {
        self.first != state.first
            || !(self.deleted.is_empty() && self.stubs.is_empty() && self.detached.is_empty())
            || !self.first_seqs.is_empty()
    }

    /// Writes the changes, all but the state itself.
    async fn apply(
        self,
        connection: &mut PgExecutor<'_>,
        events: &[Candidate],
        state: &mut State,
    ) -> Result<(), Fault> {
        const DELETE: &str = "DELETE FROM events WHERE pos = ANY($1)";
        const FIRST_SEQS: &str = "INSERT INTO run_retention (run, first_seq, held) \
            SELECT unnest($1::bigint[]), unnest($2::bigint[]), false \
            ON CONFLICT (run) DO UPDATE SET first_seq = excluded.first_seq";
        state.first = self.first;
        for event in events.iter().filter(|event| self.deleted.binary_search(&event.pos).is_ok()) {
            state.uncount(event.pos, i64::from(event.bytes));
        }
        if !self.deleted.is_empty() {
            sqlx::query(DELETE).bind(&self.deleted).execute(&mut *connection).await?;
        }
        let mut changed = Rewrites::default();
        for (positions, keeps_id) in [(&self.stubs, true), (&self.detached, false)] {
            for row in rewrites::rows(connection, positions).await? {
                changed.remove(row, Removal::Expired, keeps_id, state);
            }
        }
        changed.write(connection).await?;
        if !self.first_seqs.is_empty() {
            let (runs, seqs): (Vec<i64>, Vec<i64>) = self.first_seqs.into_iter().unzip();
            sqlx::query(FIRST_SEQS).bind(runs).bind(seqs).execute(connection).await?;
        }
        Ok(())
    }
}
