//! Compaction: one event of several gets their joined text, and the others lose their payload.

use sqlx::PgConnection;

use crate::domain::{Payload, Removal, Result, RunId};
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::connect::readers::written;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_row::{EventRow, event_columns};
use crate::store::postgres::read::runs;
use crate::store::{ProjectNumber, RunKey};

use super::Removals;
use super::rewrites::Rewrites;
use super::state::{State, lock};

/// The events of a compaction.
struct Work {
    key: RunKey,
    /// Seqs that lose their payload, and the one that gets another.
    seqs: Vec<i64>,
    last: i64,
    payload: Payload,
}

impl Removals {
    /// Compacts events of a run, see [`Store::compact`](crate::store::Store::compact).
    pub async fn compact(
        &self,
        project: ProjectNumber,
        run_id: &RunId,
        removed: &[u64],
        last: u64,
        payload: Payload,
    ) -> Result<bool> {
        let mut seqs: Vec<i64> = removed.iter().chain([&last]).map(|seq| seq.cast_signed()).collect();
        seqs.sort_unstable();
        seqs.dedup();
        let key = RunKey::new(project, run_id.clone());
        let work = Work { key, seqs, last: last.cast_signed(), payload };
        let is_compacted = written!(&self.readers, connection => write(connection, &work))?;
        if is_compacted {
            self.listener.removed(project);
        }
        Ok(is_compacted)
    }
}

async fn write(connection: &mut PgConnection, work: &Work) -> Result<bool, Fault> {
    const ROWS: &str = concat!(
        "SELECT ",
        event_columns!("e.payload::text"),
        " FROM events e JOIN runs r ON r.run = e.run WHERE e.run = $1 AND e.seq = ANY($2)"
    );
    let Work { key, seqs, last, payload } = work;
    let mut executor = PgExecutor::pooled(connection);
    lock(&mut executor, key.project).await?;
    let mut state = State::read(&mut executor, key.project).await?;
    let run = runs::extent(&mut executor, key).await?;
    let rows: Vec<EventRow> = sqlx::query_as(ROWS).bind(run.run).bind(seqs).fetch_all(&mut executor).await?;
    let is_whole = |row: &EventRow| !row.is_removed() && row.is_checked() != Some(false);
    let are_kept = rows.iter().all(|row| is_whole(row) && row.seq.unsigned_abs() >= run.first);
    if rows.len() != seqs.len() || !are_kept {
        return Ok(false);
    }
    let joined_from = rows.iter().map(EventRow::text_from).min().unwrap_or(*last);
    let mut rewrites = Rewrites::default();
    for row in rows {
        if row.seq == *last {
            rewrites.add(row.joined(payload.clone(), joined_from), &mut state);
        } else {
            rewrites.remove(row, Removal::Compacted, true, &mut state);
        }
    }
    rewrites.write(&mut executor).await?;
    state.removals += 1;
    state.write(&mut executor).await?;
    Ok(true)
}
