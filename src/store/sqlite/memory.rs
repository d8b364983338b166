//! What lives in the writer's memory, as the file says it: read at the start, and after a failure.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;
use tokio_stream::StreamExt;

use crate::domain::{Error, EventId, Result, record};
use crate::store::ids as store_ids;
use crate::store::layout::Entry;

use super::SqliteOptions;
use super::error::from_sqlx;
use super::heads::Heads;
use super::ids::{self, Ids, Place, Segment};
use super::seal::Unsealed;
use super::tail::{End, Tail};
use super::upkeep::Upkeep;
use super::view_flag::ViewFlag;

/// What was read: the unsealed end of the log, and where everything ends.
pub struct Memory {
    entries: Vec<(i64, Entry)>,
    ends: Vec<(i64, End)>,
    recent_ids: Vec<Place>,
    segments: Vec<Segment>,
    garbage: Vec<(i64, u32)>,
    /// Position of the last event.
    pub last_position: u64,
    last_run: i64,
    unsealed: Unsealed,
}

impl Memory {
    /// Reads it from the file. Bounded by what a seal leaves behind, not by the size of the log.
    pub async fn read(writer: &mut SqliteConnection) -> Result<Self> {
        read(writer).await
    }

    /// Puts it in the place of what was known.
    pub fn settle(self, tail: &Tail, ids: &Ids, options: &SqliteOptions) -> (Heads, Upkeep) {
        tail.replace(self.entries, self.ends, self.last_position);
        ids.replace(self.recent_ids, self.segments);
        let bounds = (options.max_unsealed_entries, options.slice_entries);
        (Heads::new(self.last_run), Upkeep::new(self.unsealed, ids, self.garbage, bounds))
    }
}

/// The number of the newest run, and the position of the last event in the file.
pub async fn ends(writer: &mut SqliteConnection) -> Result<(i64, u64)> {
    const ENDS: &str = "SELECT (SELECT coalesce(max(run), 0) FROM runs), \
        coalesce((SELECT pos + count - 1 FROM log ORDER BY pos DESC LIMIT 1), 0)";
    let (last_run, last_position): (i64, i64) = sqlx::query_as(ENDS).fetch_one(writer).await.map_err(from_sqlx)?;
    Ok((last_run, last_position.unsigned_abs()))
}

async fn read(writer: &mut SqliteConnection) -> Result<Memory> {
    let (sealed, last_run): (i64, i64) =
        sqlx::query_as("SELECT sealed_pos, (SELECT coalesce(max(run), 0) FROM runs) FROM store")
            .fetch_one(&mut *writer)
            .await
            .map_err(from_sqlx)?;
    let mut found = Found::default();
    let mut unsealed = Unsealed::default();
    let mut last_position = sealed.unsigned_abs();
    let mut rows = sqlx::query_as::<_, (i64, i64, ViewFlag, Vec<u8>)>(
        "SELECT pos, count, sensitive, data FROM log WHERE pos > ? ORDER BY pos",
    )
    .bind(sealed)
    .fetch(&mut *writer);
    while let Some(row) = rows.next().await {
        let (pos, count, sensitive, data) = row.map_err(from_sqlx)?;
        let pos = pos.unsigned_abs();
        if pos != last_position + 1 {
            tracing::error!(pos, last_position, "the log has a gap");
            return Err(Error::StoreDamaged);
        }
        unsealed.bytes += data.len();
        found.read_row(pos, sensitive.is_sensitive(), data.into())?;
        last_position = pos + count.unsigned_abs() - 1;
    }
    drop(rows);
    let numbers = run_numbers(writer, &found).await?;
    let number = |run_id: &str| numbers.get(run_id).copied().ok_or(Error::StoreDamaged);
    let mut recent_ids = Vec::new();
    for (run_id, event_id, seq) in &found.ids {
        let run = number(run_id)?;
        // What the store itself gave needs no entry: the id tells its place.
        if store_ids::assigned_seq(run, event_id) != Some(*seq) {
            recent_ids.push(Place { hash: ids::hash(event_id), run, seq: *seq });
        }
    }
    let entries = found.entries.into_iter().map(|(run_id, entry)| Ok((number(&run_id)?, entry)));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    unsealed.entries = entries.len();
    let mut ends = Vec::with_capacity(found.last_records.len());
    for (run_id, record) in found.last_records {
        let last = record::decode(record)?;
        ends.push((number(&run_id)?, End { last_seq: last.seq, updated_at: last.recorded_at, row_seq: 0 }));
    }
    let (segments, garbage) = ids::load(writer).await?;
    Ok(Memory { entries, ends, recent_ids, segments, garbage, last_position, last_run, unsealed })
}

async fn run_numbers(writer: &mut SqliteConnection, found: &Found) -> Result<HashMap<String, i64>> {
    let run_ids: HashSet<&str> = found.entries.iter().map(|(run_id, _)| run_id.as_str()).collect();
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT run_id, run FROM runs WHERE run_id IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&run_ids).unwrap_or_default())
            .fetch_all(writer)
            .await
            .map_err(from_sqlx)?;
    Ok(rows.into_iter().collect())
}

/// What the unsealed rows hold, by the names in the records.
#[derive(Default)]
struct Found {
    entries: Vec<(String, Entry)>,
    last_records: HashMap<String, bytes::Bytes>,
    ids: Vec<(String, EventId, u64)>,
}

impl Found {
    fn read_row(&mut self, row: u64, sensitive: bool, data: bytes::Bytes) -> Result<()> {
        let total = data.len();
        let mut rest = data;
        while !rest.is_empty() {
            let start = u32::try_from(total - rest.len()).map_err(|_| Error::StoreDamaged)?;
            let record = record::split_entry(&mut rest)?;
            let end = u32::try_from(total - rest.len()).map_err(|_| Error::StoreDamaged)?;
            let header = record::header(&record)?;
            let event_id = EventId::parse(header.event_id).map_err(|_| Error::StoreDamaged)?;
            match self.last_records.get_mut(header.run_id) {
                Some(last) => *last = record.clone(),
                None => drop(self.last_records.insert(header.run_id.to_owned(), record.clone())),
            }
            self.ids.push((header.run_id.to_owned(), event_id, header.seq));
            match self.entries.last_mut() {
                Some((run_id, entry)) if *run_id == header.run_id && entry.row == row => {
                    entry.count += 1;
                    entry.length = end - entry.start;
                }
                _ => {
                    let entry = Entry { seq: header.seq, count: 1, row, start, length: end - start, sensitive };
                    self.entries.push((header.run_id.to_owned(), entry));
                }
            }
        }
        Ok(())
    }
}
