//! The one row about the store itself. A start depends on the values, so the row has a checksum of its own.

use sqlx::SqliteConnection;

use crate::domain::{Error, Result};
use crate::store::checksum::Checksum;

use super::error::{StepError, from_sqlx};

/// Row of the table `store`; the migrations describe its columns.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub struct StoreRow {
    pub feed_id: i64,
    pub sealed_pos: i64,
    checked_from: i64,
}

const SELECT: &str = "SELECT feed_id, sealed_pos, checked_from, checksum FROM store";

impl StoreRow {
    /// Reads the row and compares the row with its checksum.
    ///
    /// # Errors
    /// `StoreDamaged` for a wrong checksum.
    pub async fn read(connection: &mut SqliteConnection) -> Result<Self> {
        let StoredRow { row, checksum } = select(connection).await.map_err(from_sqlx)?;
        if checksum.is_none_or(|checksum| checksum == row.checksum()) {
            return Ok(row);
        }
        tracing::error!("damaged: the row of the store itself");
        Err(Error::StoreDamaged)
    }

    /// Writes the position up to which the indexes cover the log, in the caller's transaction.
    pub async fn write_flushed(connection: &mut SqliteConnection, sealed_pos: i64) -> Result<(), StepError> {
        let row = Self { sealed_pos, ..select(connection).await?.row };
        row.write(connection).await?;
        Ok(())
    }

    /// Writes the row with its checksum, which an older version did not write.
    pub async fn write(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let written = sqlx::query("UPDATE store SET feed_id = ?, sealed_pos = ?, checksum = ?");
        written.bind(self.feed_id).bind(self.sealed_pos).bind(self.checksum()).execute(connection).await?;
        Ok(())
    }

    fn checksum(&self) -> i64 {
        Checksum::default().number(self.feed_id).number(self.sealed_pos).number(self.checked_from).finish()
    }
}

/// The row with its checksum; `None` in a row of an older version.
#[derive(sqlx::FromRow)]
struct StoredRow {
    #[sqlx(flatten)]
    row: StoreRow,
    checksum: Option<i64>,
}

async fn select(connection: &mut SqliteConnection) -> Result<StoredRow, sqlx::Error> {
    sqlx::query_as(SELECT).fetch_one(connection).await
}
