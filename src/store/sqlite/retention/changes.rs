//! What one transaction of a removal changes.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use crate::codec::Chunk;
use crate::domain::Result;
use crate::store::commit::row_builder::RunSpan;
use crate::store::retention::RunFacts;
use crate::store::run_row::checksums;
use crate::store::sqlite::error::StepError;
use crate::store::sqlite::feed_floors::FeedFloor;
use crate::store::sqlite::index::flush;
use crate::store::sqlite::log_row;
use crate::store::sqlite::read::view_flag::ViewFlag;

use super::documents::DocumentChange;
use super::row::{Fate, NewRow};
use super::rows::StoredEvent;

/// Entries of the index in one statement: seven variables each, of the 32,766 that SQLite allows.
const MAX_INSERT_ENTRIES: usize = 4_000;

/// Changes of rows, in the order of the log.
#[derive(Default)]
pub struct Changes {
    dropped: Vec<u64>,
    rows: Vec<NewRow>,
    /// Run, first and last seq of the entries that give way to those of the new rows.
    old_spans: Vec<(i64, u64, u64)>,
    spans: Vec<(i64, RunSpan)>,
    /// Seq of the first event of runs, by run number.
    pub first_seqs: BTreeMap<i64, u64>,
    pub floor: Option<FeedFloor>,
    pub documents: Vec<DocumentChange>,
    /// Events that lose their payload, and bytes of these payloads.
    pub events: u64,
    pub bytes: u64,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.old_spans.is_empty() && self.first_seqs.is_empty() && self.floor.is_none()
    }

    /// Adds a row. Returns the bytes by which the row gets shorter, and the changed row.
    pub fn add(
        &mut self,
        chunk: &Chunk,
        events: &[StoredEvent],
        runs: &[RunFacts],
        fates: &[Fate<'_>],
    ) -> Result<(i64, Option<&NewRow>)> {
        let Some(mut row) = NewRow::of(chunk, events, runs, fates)? else { return Ok((0, None)) };
        self.events += row.removed.len() as u64;
        self.bytes += row.removed.iter().map(|event| event.payload.as_str().len() as u64).sum::<u64>();
        // The events of a run in one row are neighbours in the run.
        let mut old: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
        for event in events {
            let (first, last) = old.entry(runs[event.run].run).or_insert((event.seq, event.seq));
            (*first, *last) = ((*first).min(event.seq), (*last).max(event.seq));
        }
        self.old_spans.extend(old.into_iter().map(|(run, (first, last))| (run, first, last)));
        self.spans.append(&mut row.spans);
        let bytes = |data: &[u8]| i64::try_from(data.len()).unwrap_or(i64::MAX);
        let shorter = bytes(&chunk.data) - bytes(&row.data);
        if row.count == 0 {
            self.dropped.push(row.pos);
        }
        self.rows.push(row);
        Ok((shorter, self.rows.last()))
    }

    /// Writes all changes in the caller's transaction.
    pub async fn write(&self, transaction: &mut SqliteConnection) -> Result<(), StepError> {
        if !self.old_spans.is_empty() {
            self.write_index(transaction).await?;
        }
        if !self.dropped.is_empty() {
            const DROP: &str = "DELETE FROM log WHERE pos IN (SELECT value FROM json_each(?))";
            let dropped = serde_json::to_string(&self.dropped).unwrap_or_default();
            sqlx::query(DROP).bind(dropped).execute(&mut *transaction).await?;
        }
        for row in self.rows.iter().filter(|row| row.count > 0) {
            const UPDATE: &str = "UPDATE log SET count = ?, sensitive = ?, data = ?, checksum = ? WHERE pos = ?";
            let (pos, count, flag) = (row.pos.cast_signed(), i64::from(row.count), ViewFlag::of(row.sensitive));
            let checksum = log_row::checksum(pos, count, flag, &row.data);
            let update = sqlx::query(UPDATE).bind(count).bind(flag).bind(row.data.as_slice()).bind(checksum).bind(pos);
            update.execute(&mut *transaction).await?;
        }
        if !self.first_seqs.is_empty() {
            self.write_first_seqs(transaction).await?;
        }
        for document in &self.documents {
            document.write(transaction).await?;
        }
        if let Some(floor) = &self.floor {
            floor.write(transaction).await?;
        }
        Ok(())
    }

    async fn write_index(&self, transaction: &mut SqliteConnection) -> Result<(), StepError> {
        const DELETE: &str = "DELETE FROM run_index WHERE (run, seq) IN (SELECT i.run, i.seq FROM json_each(?) j \
            CROSS JOIN run_index i ON i.run = j.value ->> 0 AND i.seq BETWEEN j.value ->> 1 AND j.value ->> 2)";
        let old = serde_json::to_string(&self.old_spans).unwrap_or_default();
        sqlx::query(DELETE).bind(old).execute(&mut *transaction).await?;
        for spans in self.spans.chunks(MAX_INSERT_ENTRIES) {
            flush::write_entries(transaction, spans).await?;
        }
        Ok(())
    }

    async fn write_first_seqs(&self, transaction: &mut SqliteConnection) -> Result<(), StepError> {
        // Retention passes held runs over.
        let sum = |run: i64, seq: u64| checksums::of_kept(run, seq.cast_signed(), false);
        let first: Vec<_> = self.first_seqs.iter().map(|(run, seq)| (*run, *seq, sum(*run, *seq))).collect();
        const FIRST: &str = "UPDATE runs SET first_seq = j.value ->> 1, kept_checksum = j.value ->> 2 \
            FROM json_each(?) j WHERE runs.run = j.value ->> 0";
        sqlx::query(FIRST).bind(serde_json::to_string(&first).unwrap_or_default()).execute(transaction).await?;
        Ok(())
    }
}
