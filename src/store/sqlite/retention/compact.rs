//! Replaces the payloads of several events of a run by one.

use sqlx::SqliteConnection;

use crate::codec::record;
use crate::domain::event::Removal;
use crate::domain::{Payload, Result};
use crate::store::RunKey;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::feed_floors;
use crate::store::sqlite::maintenance::transaction;
use crate::store::sqlite::read::run_scope::{self, RunScope};

use super::Removals;
use super::changes::Changes;
use super::row::Fate;
use super::rows::{self, Rows, StoredEvent};

impl Removals {
    /// Removes the payloads of the events `removed`, and joins them in that of the event `last`. Returns whether all were there.
    pub(super) async fn compact_on(
        &self,
        connection: &mut SqliteConnection,
        key: &RunKey,
        removed: &[u64],
        (last, payload): (u64, &Payload),
    ) -> Result<bool> {
        let RunScope { run, first, end } = run_scope::of(connection, &self.tail, key).await?;
        let mut seqs: Vec<u64> = removed.iter().copied().chain([last]).collect();
        seqs.sort_unstable();
        seqs.dedup();
        let is_kept = seqs.len() == removed.len() + 1 && seqs[0] >= first && seqs[seqs.len() - 1] <= end.last;
        if !is_kept || !self.run_flushed_to(key, run, seqs[seqs.len() - 1]).await {
            return Ok(false);
        }
        let positions = positions(connection, run, &seqs).await?;
        let mut floor = feed_floors::of(connection, key.project).await?;
        let stored = floor;
        let (mut changes, mut has_last, mut read) = (Changes::default(), false, 0);
        let mut joined_from = u64::MAX;
        while read < positions.len() {
            let Rows { rows, runs } = rows::at(connection, key.project, &positions[read..]).await?;
            if rows.is_empty() {
                return Ok(false);
            }
            read += rows.len();
            for (row, events) in rows {
                let is_ours =
                    |event: &StoredEvent| runs[event.run].run == run && seqs.binary_search(&event.seq).is_ok();
                for event in events.iter().filter(|event| is_ours(event)) {
                    let event = record::decode(event.record.clone())?;
                    joined_from = joined_from.min(event.text_from());
                    has_last |= event.seq == last && event.removal.is_none();
                }
                let fate = |event: &StoredEvent| match is_ours(event) {
                    true if event.seq == last => Fate::Join(payload, joined_from),
                    true => Fate::Remove(Removal::Compacted),
                    false => Fate::Keep,
                };
                let fates: Vec<Fate<'_>> = events.iter().map(fate).collect();
                floor.shorten(row.chunk.first, changes.add(&row.chunk, &events, &runs, &fates)?.0);
            }
        }
        // Fewer, if another removal came before.
        if !has_last || changes.events != removed.len() as u64 {
            return Ok(false);
        }
        changes.floor = (floor != stored).then_some(floor);
        transaction::begin(connection).await.map_err(from_sqlx)?;
        let written = changes.write(connection).await;
        self.commit(connection, key.project, written, || Ok(())).await?;
        Ok(true)
    }
}

/// Stored positions of the rows with these events, ascending.
async fn positions(connection: &mut SqliteConnection, run: i64, seqs: &[u64]) -> Result<Vec<i64>> {
    const POSITIONS: &str = "SELECT i.pos FROM json_each(?2) j CROSS JOIN run_index i ON i.run = ?1 AND i.seq = \
        (SELECT max(seq) FROM run_index WHERE run = ?1 AND seq <= j.value) ORDER BY j.rowid";
    let positions = sqlx::query_scalar(POSITIONS).bind(run).bind(serde_json::to_string(seqs).unwrap_or_default());
    let mut positions: Vec<i64> = positions.fetch_all(connection).await.map_err(from_sqlx)?;
    positions.dedup();
    Ok(positions)
}
