//! Erasure of payloads.

use std::ops::RangeInclusive;

use sqlx::PgConnection;

use crate::domain::projection::documents_of;
use crate::domain::{Removal, Result, RunId};
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::connect::readers::written;
use crate::store::postgres::connect::session::NotifyIdentity;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_row::EventRow;
use crate::store::postgres::feed::signals;
use crate::store::postgres::read::{self, runs};
use crate::store::{ProjectNumber, Range, ReadFrom, RunKey};

use super::rewrites::Rewrites;
use super::state::{State, lock};
use super::{Removals, documents};

/// Limits of one transaction.
const SLICE: Range = Range { from: ReadFrom::After(0), max_events: 500, max_bytes: 256 << 10 };

/// Result of one transaction.
struct Erased {
    /// Events of the slice, all without payload.
    events: u64,
    /// Whether the documents of the run went, too.
    is_whole: bool,
    /// Last seq to erase.
    to: u64,
    /// Begin of the next slice.
    next: Option<u64>,
    /// Id of the transaction.
    transaction: String,
}

impl Removals {
    /// Erases payloads of a run, see [`Store::erase`](crate::store::Store::erase).
    pub async fn erase(&self, project: ProjectNumber, run_id: &RunId, seqs: RangeInclusive<u64>) -> Result<u64> {
        let key = RunKey::new(project, run_id.clone());
        let notify = self.readers.session.notify_identity();
        let (begin, mut to) = seqs.into_inner();
        let mut from = begin;
        let (mut events, mut is_whole) = (0, false);
        let transaction = loop {
            let slice = written!(&self.readers, connection => slice(connection, &key, (begin, from), to, notify))?;
            to = slice.to;
            events += slice.events;
            is_whole |= slice.is_whole;
            match slice.next {
                Some(next) => from = next,
                None => break slice.transaction,
            }
        };
        failpoint!("postgres-erase-after", |error| Fault::from(error).into_error().after_commit());
        self.dropped_everywhere(&transaction).await?;
        // Also of a repeated call: the one before may have ended here.
        if events > 0 || is_whole {
            self.clear_files(&transaction).await;
        }
        Ok(events)
    }
}

/// Erases the next events from the seq `from` up to `to`, of an erasure that began with `begin`.
async fn slice(
    connection: &mut PgConnection,
    key: &RunKey,
    (begin, from): (u64, u64),
    to: u64,
    notify: Option<&NotifyIdentity>,
) -> Result<Erased, Fault> {
    failpoint!("postgres-erase-before", Fault::from);
    let mut executor = PgExecutor::pooled(connection);
    lock(&mut executor, key.project).await?;
    let mut state = State::read(&mut executor, key.project).await?;
    // The row of the run is locked because commits change its documents.
    const LOCK: &str = "SELECT run FROM runs WHERE run_id = $1 FOR NO KEY UPDATE";
    sqlx::query(LOCK).bind(key.stored()).fetch_optional(&mut executor).await?;
    let run = runs::extent(&mut executor, key).await?;
    let (from, to) = (from.max(run.first), to.min(run.scope_end.last));
    let range = Range { from: ReadFrom::After(from.saturating_sub(1)), ..SLICE };
    let rows = if from <= to { read::run_rows(&mut executor, run.run, range).await? } else { Vec::new() };
    let rows: Vec<EventRow> = rows.into_iter().filter(|row| row.seq.unsigned_abs() <= to).collect();
    let last = rows.last().map(|row| row.seq.unsigned_abs()).filter(|last| *last < to);
    const TRANSACTION: &str = "SELECT pg_current_xact_id()::text";
    let transaction: String = sqlx::query_scalar(TRANSACTION).fetch_one(&mut executor).await?;
    let (events, next) = (rows.len() as u64, last.map(|last| last + 1));
    let is_whole = begin <= run.first && to >= run.scope_end.last && next.is_none();
    if is_whole {
        // Also of events that the run does not keep any more.
        documents::erase_all(&mut executor, run.run).await?;
    }
    let mut rewrites = Rewrites::default();
    for row in rows.into_iter().filter(|row| !row.is_removed()) {
        // The documents of a damaged event are not known; its payload goes nevertheless.
        if let Ok(Some((event, _))) = row.clone().into_event() {
            documents::erase(&mut executor, run.run, documents_of(&event)).await?;
        }
        rewrites.remove(row, Removal::Erased, true, &mut state);
    }
    // The last slice counts also if it finds nothing to remove: the erasure waits until every replica has seen its transaction.
    if !rewrites.is_empty() || next.is_none() {
        rewrites.write(&mut executor).await?;
        state.removals += 1;
        state.write(&mut executor).await?;
        if let Some(names) = notify {
            let text = signals::of_removal(names, key.project.pos(state.last));
            let notify = sqlx::query("SELECT pg_notify($1, $2)").bind(names.channel_of(key.project)).bind(text);
            notify.execute(&mut executor).await?;
        }
    }
    failpoint!("postgres-erase-inside", Fault::from);
    Ok(Erased { events, is_whole, to, next, transaction })
}
