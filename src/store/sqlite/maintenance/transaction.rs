//! Transactions of maintenance, as plain statements.
//!
//! SQLite ends a transaction by itself on a full or failing disk. sqlx keeps a transaction count of its own, misses
//! that end, and refuses every later transaction on the connection. With plain statements SQLite's state is the only
//! state.

use sqlx::SqliteConnection;

/// Begins a write transaction.
pub async fn begin(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query("BEGIN IMMEDIATE").execute(connection).await.map(drop)
}

/// Commits after successful work, else rolls back. In every case no transaction is open afterwards, and after an error
/// this process sees no part of the work.
pub async fn end<T, E: From<sqlx::Error>>(connection: &mut SqliteConnection, work: Result<T, E>) -> Result<T, E> {
    let result = match work {
        Ok(value) => sqlx::query("COMMIT").execute(&mut *connection).await.map(|_| value).map_err(E::from),
        failed => failed,
    };
    if result.is_err() {
        // Fails if SQLite has already ended the transaction.
        let _ = sqlx::query("ROLLBACK").execute(connection).await;
    }
    result
}
