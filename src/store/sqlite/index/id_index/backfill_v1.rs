//! Moves the ids of the first schema, a table sorted by hash, into a segment. Runs at a start in one transaction; an
//! interrupted move starts over at the next start.

use sqlx::SqliteConnection;

use super::segment_writer::{Build, Source};

use crate::domain::Result;

use crate::store::sqlite::error::{StepError, from_sqlx};
use crate::store::sqlite::maintenance::transaction;

/// Blocks in memory at once.
const BLOCKS_AT_ONCE: u32 = 1_024;

/// Moves the ids if the table of the first schema exists.
pub async fn move_ids(writer: &mut SqliteConnection) -> Result<()> {
    const IS_THERE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'event_ids_to_move'";
    let tables: i64 = sqlx::query_scalar(IS_THERE).fetch_one(&mut *writer).await.map_err(from_sqlx)?;
    if tables == 0 {
        return Ok(());
    }
    transaction::begin(writer).await.map_err(from_sqlx)?;
    let moved = move_all(writer).await;
    transaction::end(writer, moved).await.map_err(StepError::into_error)
}

async fn move_all(transaction: &mut SqliteConnection) -> Result<(), StepError> {
    let count = sqlx::query_scalar("SELECT count(*) FROM event_ids_to_move");
    let count: i64 = count.fetch_one(&mut *transaction).await?;
    if count > 0 {
        tracing::info!(ids = count, "moving the ids of events into their new form");
        // A store with this table has no segment yet.
        let mut build = Build::new(1, count.unsigned_abs(), Source::Legacy);
        loop {
            let part = build.write(transaction, BLOCKS_AT_ONCE).await?;
            if build.advance(part).is_some() {
                break;
            }
        }
    }
    failpoint!("sqlite-migration-ids-inside", StepError::from);
    sqlx::query("DROP TABLE event_ids_to_move").execute(transaction).await?;
    Ok(())
}
