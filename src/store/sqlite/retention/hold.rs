//! Holds a run, so that retention passes it over, and releases it.

use sqlx::SqliteConnection;

use crate::domain::Result;
use crate::store::RunKey;
use crate::store::run_row::checksums;
use crate::store::sqlite::error::StepError;
use crate::store::sqlite::error::{from_sqlx, of_commit};
use crate::store::sqlite::maintenance::transaction;
use crate::store::sqlite::read::absence::not_found;

/// Returns whether anything changed.
pub async fn hold(connection: &mut SqliteConnection, key: &RunKey, is_held: bool) -> Result<bool> {
    transaction::begin(connection).await.map_err(from_sqlx)?;
    let written = write(connection, key, is_held).await;
    let is_written = written.is_ok();
    transaction::end(connection, written).await.map_err(|error| match error {
        StepError::Sqlite(error) if is_written => of_commit(error),
        error => error.into_error(),
    })
}

async fn write(transaction: &mut SqliteConnection, key: &RunKey, is_held: bool) -> Result<bool, StepError> {
    const RUN: &str = "SELECT run, first_seq FROM runs WHERE run_id = ?";
    let run = sqlx::query_as::<_, (i64, i64)>(RUN).bind(key.stored()).fetch_optional(&mut *transaction).await?;
    let Some((run, first_seq)) = run else { return Err(not_found(&mut *transaction, key).await.into()) };
    const HOLD: &str = "UPDATE runs SET held = ?, kept_checksum = ? WHERE run = ? AND held <> ?";
    let checksum = checksums::of_kept(run, first_seq, is_held);
    let update = sqlx::query(HOLD).bind(is_held).bind(checksum).bind(run).bind(is_held).execute(transaction).await?;
    Ok(update.rows_affected() > 0)
}
