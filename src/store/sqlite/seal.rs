//! Moves the unsealed end of the log into the indexes and the rows of its runs, in their order, so that each page of an index is written once
//! for many entries instead of once for each.

use sqlx::SqliteConnection;

use crate::domain::Result;

use super::error::from_sqlx;
use super::ids::RecentIds;
use super::tail::Tail;

/// Log bytes after which a seal is due, since a start has to read the unsealed end.
const MAX_UNSEALED_BYTES: usize = 64 << 20;

/// Ids after which a seal is due.
const MAX_UNSEALED_IDS: usize = 65_536;

/// How much of the log the indexes do not cover.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsealed {
    pub entries: usize,
    pub bytes: usize,
}

impl Unsealed {
    /// Whether it is time.
    pub fn is_due(&self, max_entries: usize, ids: usize) -> bool {
        self.entries >= max_entries || self.bytes >= MAX_UNSEALED_BYTES || ids >= MAX_UNSEALED_IDS
    }
}

/// Writes all of the tail and the recent ids in one transaction. The caller forgets them afterwards.
pub async fn seal(writer: &mut SqliteConnection, tail: &Tail, recent_ids: &RecentIds) -> Result<()> {
    const SEAL: &str = "BEGIN IMMEDIATE;
        INSERT INTO run_index (run, seq, count, pos, start, length, sensitive)
            SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
            FROM json_each(?);
        INSERT INTO event_ids (hash, run, seq) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?);
        UPDATE runs SET last_seq = j.value ->> 1, updated_at = j.value ->> 2
            FROM json_each(?) j WHERE runs.run = j.value ->> 0;
        UPDATE store SET sealed_pos = ?;
        COMMIT;";
    let entries: Vec<_> = tail
        .sorted()
        .into_iter()
        .map(|(run, e)| (run, e.seq, e.count, e.row, e.start, e.length, u8::from(e.sensitive)))
        .collect();
    let ends: Vec<_> = tail.ends().into_iter().map(|(run, end)| (run, end.last_seq, end.updated_at)).collect();
    sqlx::query(SEAL)
        .bind(serde_json::to_string(&entries).unwrap_or_default())
        .bind(serde_json::to_string(&recent_ids.sorted()).unwrap_or_default())
        .bind(serde_json::to_string(&ends).unwrap_or_default())
        .bind(tail.last_position().cast_signed())
        .execute(writer)
        .await
        .map_err(from_sqlx)?;
    Ok(())
}

/// Pages of the write-ahead log after which it is made to begin anew.
const MAX_WAL_PAGES: i64 = 16_384;

/// SQLite begins the log anew by itself when no reader is in it. Where one reader always overlaps the next that never
/// happens, and the log would grow for ever; so now and then the writer waits until those who are in it have left, which
/// is a page's time: who comes while it waits reads the database itself.
pub async fn bound_wal(writer: &mut SqliteConnection) -> Result<()> {
    let (_, pages, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut *writer).await.map_err(from_sqlx)?;
    if pages > MAX_WAL_PAGES {
        sqlx::query("PRAGMA wal_checkpoint(RESTART)").execute(writer).await.map_err(from_sqlx)?;
    }
    Ok(())
}
