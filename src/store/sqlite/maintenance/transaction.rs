//! Transactions of maintenance, out of plain statements.
//!
//! SQLite ends a transaction by itself when the disk is full or fails. sqlx counts transactions besides, does not see that, and
//! refuses every later one on the same connection. Plain statements leave SQLite the only one who knows.

use sqlx::SqliteConnection;

/// Begins one that writes.
pub async fn begin(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await.map(drop)
}

/// Commits the work of the transaction if it succeeded. Whatever the result, no transaction is open afterwards, and on an
/// error nothing of it is visible to this process.
pub async fn end<T, E: From<sqlx::Error>>(connection: &mut SqliteConnection, work: Result<T, E>) -> Result<T, E> {
    let result = match work {
        Ok(value) => sqlx::query("COMMIT").execute(&mut *connection).await.map(|_| value).map_err(E::from),
        failed => failed,
    };
    if result.is_err() {
        // Fails where SQLite has ended the transaction already.
        let _ = sqlx::query("ROLLBACK").execute(connection).await;
    }
    result
}
