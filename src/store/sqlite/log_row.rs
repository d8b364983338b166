//! Rows of the log, each compared with its checksum when read.

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};
use tokio_stream::StreamExt;

use crate::codec::{Chunk, record};
use crate::domain::{Error, Result};
use crate::store::checksum::{Checksum, damaged_events};
use crate::store::commit::row_builder::RunSpan;

use super::error::from_sqlx;
use super::read::view_flag::ViewFlag;
use super::rewrites::{ReadError, Seen};

/// Columns of every read of the log (alias `l`). The last column is true for rows of an older version, which have no
/// checksum.
macro_rules! log_columns {
    () => {
        "l.pos, l.count, l.sensitive, l.data, l.checksum, l.pos < (SELECT checked_from FROM store)"
    };
}
pub(super) use log_columns;

/// A row of the log with the result of its checksum, read with `log_columns!`.
pub struct LogRow {
    /// Events of the row, in feed order.
    pub chunk: Chunk,
    pub verdict: Verdict,
}

/// Result of comparing a row with its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Sound,
    /// No checksum: an older version wrote the row.
    Unchecked,
    /// Wrong or missing checksum, or an impossible count.
    Damaged,
}

/// Checksum over all other columns of a row.
pub fn checksum(pos: i64, count: i64, flag: ViewFlag, data: &[u8]) -> i64 {
    Checksum::default().number(pos).number(count).number(flag.number()).bytes(data).finish()
}

impl FromRow<'_, SqliteRow> for LogRow {
    /// Reads by index, since a search of each column by its name costs time in every row.
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let (pos, count, flag): (i64, i64, ViewFlag) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (data, stored, is_older): (Vec<u8>, Option<i64>, bool) =
            (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?);
        let verdict = match (stored, u32::try_from(count)) {
            (None, Ok(1..)) if is_older => Verdict::Unchecked,
            (Some(stored), Ok(1..)) if stored == checksum(pos, count, flag, &data) => Verdict::Sound,
            _ => Verdict::Damaged,
        };
        let count = u32::try_from(count).unwrap_or(0).max(1);
        let chunk = Chunk { first: pos.unsigned_abs(), count, sensitive: flag.is_sensitive(), data: data.into() };
        Ok(Self { chunk, verdict })
    }
}

impl LogRow {
    pub fn is_damaged(&self) -> bool {
        self.verdict == Verdict::Damaged
    }

    /// The events, or `EventDamaged` for a damaged row.
    pub fn into_chunk(self) -> Result<Chunk> {
        match self.verdict {
            Verdict::Sound | Verdict::Unchecked => Ok(self.chunk),
            Verdict::Damaged => Err(self.error()),
        }
    }

    /// Error for readers of the feed. Run and seq go to the program's log only, since both may be damaged.
    fn error(&self) -> Error {
        let mut rest = self.chunk.data.clone();
        let first = record::split_entry(&mut rest).unwrap_or_default();
        let header = record::header(&first).ok();
        let (run, seq) = (header.as_ref().map(|header| header.run_id), header.as_ref().map(|header| header.seq));
        damaged_events(run, seq, self.chunk.first, "a row of the log");
        Error::EventDamaged { run_id: None, seqs: None }
    }
}

/// Result of reading entries from the log.
pub struct Loaded {
    /// Bytes of the entries before the first damaged entry.
    pub chunks: Vec<Chunk>,
    /// Error of the first damaged entry.
    pub damaged: Option<Error>,
}

/// Reads the bytes of entries from the log. `run_id` names the run of all entries; `None` allows entries of several
/// runs.
pub async fn load(
    reader: &mut SqliteConnection,
    seen: Seen<'_>,
    run_id: Option<&str>,
    entries: &[RunSpan],
) -> Result<Loaded, ReadError> {
    let mut chunks = Vec::with_capacity(entries.len());
    let mut of_rows = entries.chunk_by(|one, other| one.row == other.row);
    // Ordering by the rowid of json_each costs no sort (ordering by its key would), so the records pass through no
    // sorter.
    const ROWS: &str =
        concat!("SELECT ", log_columns!(), " FROM json_each(?) j CROSS JOIN log l ON l.pos = j.value ORDER BY j.rowid");
    let positions: Vec<u64> = of_rows.clone().map(|entries| entries[0].row).collect();
    let mut rows =
        sqlx::query_as::<_, LogRow>(ROWS).bind(serde_json::to_string(&positions).unwrap_or_default()).fetch(reader);
    while let Some(row) = rows.next().await {
        let row: LogRow = match row.map_err(from_sqlx) {
            Ok(row) => row,
            Err(Error::StoreDamaged) => break,
            Err(error) => return Err(error.into()),
        };
        let Some(of_row) = of_rows.next() else { break };
        let of_row = of_row.iter().map(|entry| slice(&row, run_id, entry));
        let (wanted, before) = (of_row.len(), chunks.len());
        chunks.extend(of_row.map_while(|chunk| chunk));
        if chunks.len() - before < wanted {
            break;
        }
    }
    if chunks.len() < entries.len() {
        seen.check()?;
    }
    let damaged = entries.get(chunks.len()).map(|entry| {
        damaged_events(run_id, Some(entry.seq), entry.row, "a row of the log, or the index of its run");
        Error::EventDamaged { run_id: run_id.map(str::to_owned), seqs: Some((entry.seq, entry.last())) }
    });
    Ok(Loaded { chunks, damaged })
}

/// Bytes of an entry; `None` for a damaged row and for bytes of another entry.
fn slice(row: &LogRow, run_id: Option<&str>, entry: &RunSpan) -> Option<Chunk> {
    /// Parts smaller than the row's size divided by this are copied, so that a small part does not keep the row in
    /// memory.
    const COPIED: usize = 2;
    // A missing row shows as the next row in its place.
    if row.verdict == Verdict::Damaged || row.chunk.first != entry.row {
        return None;
    }
    let data = &row.chunk.data;
    let (start, end) = (entry.start as usize, entry.start as usize + entry.length as usize);
    let bytes = data.get(start..end)?;
    let header = record::header(record::first(bytes)?).ok()?;
    let is_it = header.seq == entry.seq && run_id.is_none_or(|run_id| run_id == header.run_id);
    if !is_it || record::count(bytes) != Some(entry.count) {
        return None;
    }
    let is_small = bytes.len() < data.len() / COPIED;
    Some(entry.chunk(if is_small { Bytes::copy_from_slice(bytes) } else { data.slice(start..end) }))
}
