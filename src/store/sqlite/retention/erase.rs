//! Erases the payloads of events of a run.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use sqlx::SqliteConnection;

use crate::domain::event::Removal;
use crate::domain::{Error, Result};
use crate::store::RunKey;
use crate::store::checksum::damaged_events;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::feed_floors;
use crate::store::sqlite::maintenance::transaction;
use crate::store::sqlite::read::run_scope::{self, RunScope};

use super::changes::Changes;
use super::row::Fate;
use super::rows::{self, Rows};
use super::{Removals, documents};

/// Most rows looked up for one part.
const MAX_ROWS: i64 = 500;

impl Removals {
    /// Erases the events part by part. Free space of the file and the write-ahead log still hold them afterwards.
    pub(super) async fn erase_on(
        &self,
        connection: &mut SqliteConnection,
        key: &RunKey,
        seqs: RangeInclusive<u64>,
    ) -> Result<u64> {
        let RunScope { run, first, end } = run_scope::of(connection, &self.tail, key).await?;
        let run_first = first;
        let (first, last) = (first.max(*seqs.start()), end.last.min(*seqs.end()));
        if first <= last && !self.run_flushed_to(key, run, last).await {
            return Err(Error::StoreUnavailable);
        }
        let mut next = first;
        while next <= last {
            let part = self.erase_part(connection, key, run, next..=last).await;
            next = part.map_err(|error| if next == first { error } else { unknown(&error) })?;
        }
        if *seqs.start() <= run_first && *seqs.end() >= end.last {
            // Also of events that the run does not keep any more.
            let erased = documents::erase_all(connection, run).await;
            if !matches!(erased, Ok(false)) {
                self.removed.fetch_add(1, Ordering::Release);
            }
            erased.map_err(|error| unknown(&error))?;
        }
        Ok((last + 1).saturating_sub(first))
    }

    /// Clears what the files still hold, also of a repeated call: the one before may have ended here.
    pub(super) async fn end_erasure(&self, key: &RunKey, has_log: bool) -> Result<()> {
        if has_log {
            self.clear().await.map_err(|error| unknown(&error))?;
        } else {
            // Emptied here, the copy of that program would lack what it has not read yet; and it would have to copy a rewritten
            // file as a whole.
            tracing::warn!(
                run = key.run_id.as_str(),
                "erased payloads stay in the write-ahead log until the program that checkpoints it overwrites them, and may stay \
                 in free space of the file"
            );
        }
        // A commit to files that are lost may be gone.
        self.watch.look_again().map_err(|_| Error::OutcomeUnknown)
    }

    /// Erases the first events of the range; returns the seq after them.
    async fn erase_part(
        &self,
        connection: &mut SqliteConnection,
        key: &RunKey,
        run: i64,
        seqs: RangeInclusive<u64>,
    ) -> Result<u64> {
        const ROWS: &str = "SELECT pos FROM run_index WHERE run = ?1 AND seq <= ?3 AND seq >= \
            coalesce((SELECT max(seq) FROM run_index WHERE run = ?1 AND seq <= ?2), 0) ORDER BY seq LIMIT ?4";
        let (first, last) = (seqs.start().cast_signed(), i64::try_from(*seqs.end()).unwrap_or(i64::MAX));
        let positions = sqlx::query_scalar(ROWS).bind(run).bind(first).bind(last).bind(MAX_ROWS);
        let mut positions: Vec<i64> = positions.fetch_all(&mut *connection).await.map_err(from_sqlx)?;
        // Of neighbouring spans in one row.
        positions.dedup();
        let Rows { rows, runs } = rows::at(connection, key.project, &positions).await?;
        let (mut changes, mut next) = (Changes::default(), *seqs.start());
        let stored = feed_floors::of(connection, key.project).await?;
        let mut floor = stored;
        for (row, events) in rows {
            let is_ours = |event: &rows::StoredEvent| runs[event.run].run == run && seqs.contains(&event.seq);
            let fate = |event| if is_ours(event) { Fate::Remove(Removal::Erased) } else { Fate::Keep };
            let fates: Vec<Fate> = events.iter().map(fate).collect();
            let ours = events.iter().filter(|event| is_ours(event)).map(|event| event.seq);
            let Some(last) = ours.clone().max().filter(|_| ours.min() == Some(next)) else { break };
            let (shorter, changed) = changes.add(&row.chunk, &events, &runs, &fates)?;
            let erased = changed.map_or(&[][..], |row| row.removed.as_slice());
            let came_from: Vec<_> = erased.iter().flat_map(|event| documents::of_event(run, event)).collect();
            changes.documents.extend(came_from);
            floor.shorten(row.chunk.first, shorter);
            next = last + 1;
        }
        if next == *seqs.start() {
            damaged_events(Some(key.run_id.as_str()), Some(next), 0, "a row of the log, or the index of its run");
            return Err(Error::EventDamaged { run_id: Some(key.run_id.to_string()), seqs: Some((next, next)) });
        }
        changes.floor = (floor != stored).then_some(floor);
        if !changes.is_empty() {
            self.write_erased(connection, key, &changes).await?;
        }
        Ok(next)
    }

    async fn write_erased(&self, connection: &mut SqliteConnection, key: &RunKey, changes: &Changes) -> Result<()> {
        failpoint!("sqlite-erase-before", from_sqlx);
        transaction::begin(connection).await.map_err(from_sqlx)?;
        let written = async {
            changes.write(connection).await?;
            failpoint!("sqlite-erase-inside", std::convert::From::from);
            Ok(())
        };
        let written = written.await;
        let after = || {
            failpoint!("sqlite-erase-after", |_| Error::OutcomeUnknown);
            Ok(())
        };
        self.commit(connection, key.project, written, after).await
    }
}

/// Error after some events were erased.
fn unknown(error: &Error) -> Error {
    tracing::error!(%error, "an erasure did not come to its end; the same call goes on with it");
    Error::OutcomeUnknown
}
