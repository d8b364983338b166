//! Epochs of a file, for each project. Each opening begins an epoch, since a file and an older copy of the file look the same
//! otherwise.

use sqlx::SqliteConnection;

use crate::domain::history::Epoch;
use crate::domain::{Error, Result};
use crate::store::ProjectNumber;
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

/// The epochs of a project.
pub async fn read(connection: &mut SqliteConnection, project: ProjectNumber) -> Result<Vec<Epoch>> {
    rows(connection, project).await?.iter().map(epoch).collect()
}

async fn rows(connection: &mut SqliteConnection, project: ProjectNumber) -> Result<Vec<EpochRow>> {
    const ALL: &str = "SELECT epoch, id, start, checksum FROM epochs WHERE epoch > ? AND epoch <= ? ORDER BY epoch";
    let rows = sqlx::query_as(ALL).bind(project.before_runs()).bind(project.last_run());
    rows.fetch_all(connection).await.map_err(from_sqlx)
}

fn epoch(row: &EpochRow) -> Result<Epoch> {
    if checksum(row.epoch, row.id, row.start) != row.checksum {
        tracing::error!(epoch = row.epoch, "damaged: the row of an epoch");
        return Err(Error::StoreDamaged);
    }
    let id = u32::try_from(row.id).map_err(|_| Error::StoreDamaged)?;
    Ok(Epoch { id, start: row.start.unsigned_abs() })
}

/// Begins an epoch of a project after `last_position`, the last position of its feed, in the caller's transaction. Removes epochs
/// without an event: cursors from such an epoch fit the epoch before too.
pub async fn begin(
    transaction: &mut SqliteConnection,
    project: ProjectNumber,
    last_position: u64,
) -> Result<Vec<Epoch>> {
    let rows = rows(transaction, project).await?;
    let mut epochs = rows.iter().map(epoch).collect::<Result<Vec<Epoch>>>()?;
    epochs.retain(|epoch| epoch.start < last_position);
    let epoch = begin_epoch(last_position);
    epochs.push(epoch);
    let number = rows.last().map_or(project.before_runs(), |row| row.epoch) + 1;
    let (id, start) = (i64::from(epoch.id), last_position.cast_signed());
    const REMOVE: &str = "DELETE FROM epochs WHERE epoch > ? AND epoch < ? AND start >= ?";
    let remove = sqlx::query(REMOVE).bind(project.before_runs()).bind(number).bind(start);
    remove.execute(&mut *transaction).await.map_err(from_sqlx)?;
    const BEGIN: &str = "INSERT INTO epochs (epoch, id, start, checksum) VALUES (?, ?, ?, ?)";
    let begin = sqlx::query(BEGIN).bind(number).bind(id).bind(start).bind(checksum(number, id, start));
    begin.execute(transaction).await.map_err(from_sqlx)?;
    Ok(epochs)
}

fn checksum(number: i64, id: i64, start: i64) -> i64 {
    Checksum::default().number(number).number(id).number(start).finish()
}
