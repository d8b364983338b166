//! Epochs of a file. Each opening begins an epoch, since a file and an older copy of the file look the same otherwise.

use sqlx::SqliteConnection;

use crate::domain::history::{Epoch, History};
use crate::domain::{Error, FeedId, Result};
use crate::store::checksum::Checksum;
use crate::store::history::begin_epoch;

use super::error::from_sqlx;

/// A row of `epochs`.
#[derive(sqlx::FromRow)]
struct EpochRow {
    epoch: i64,
    id: i64,
    start: i64,
    checksum: i64,
}

/// Begins an epoch after `last_position`, the last position of the file. Removes epochs without an event: cursors from
/// such an epoch fit the epoch before too.
pub async fn begin(writer: &mut SqliteConnection, feed: FeedId, last_position: u64) -> Result<History> {
    const ALL: &str = "SELECT epoch, id, start, checksum FROM epochs ORDER BY epoch";
    let rows: Vec<EpochRow> = sqlx::query_as(ALL).fetch_all(&mut *writer).await.map_err(from_sqlx)?;
    let mut epochs = Vec::with_capacity(rows.len() + 1);
    let mut last = 0;
    for row in rows {
        if checksum(row.epoch, row.id, row.start) != row.checksum {
            tracing::error!(epoch = row.epoch, "damaged: the row of an epoch");
            return Err(Error::StoreDamaged);
        }
        last = row.epoch;
        let id = u32::try_from(row.id).map_err(|_| Error::StoreDamaged)?;
        epochs.push(Epoch { id, start: row.start.unsigned_abs() });
    }
    epochs.retain(|epoch| epoch.start < last_position);
    let epoch = begin_epoch(last_position);
    epochs.push(epoch);
    let (number, id, start) = (last + 1, i64::from(epoch.id), last_position.cast_signed());
    // One query with BEGIN and COMMIT: removal and insertion are one transaction.
    const BEGIN: &str = "BEGIN IMMEDIATE; DELETE FROM epochs WHERE start >= ?;
        INSERT INTO epochs (epoch, id, start, checksum) VALUES (?, ?, ?, ?); COMMIT";
    let query = sqlx::query(BEGIN).bind(start).bind(number).bind(id).bind(start).bind(checksum(number, id, start));
    query.execute(writer).await.map_err(from_sqlx)?;
    Ok(History::new(feed, epochs))
}

fn checksum(number: i64, id: i64, start: i64) -> i64 {
    Checksum::default().number(number).number(id).number(start).finish()
}
