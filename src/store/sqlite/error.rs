//! From SQLite's result codes to the one error. Codes, never message texts: <https://www.sqlite.org/rescode.html>.

use crate::domain::Error;

/// Primary result codes.
pub const BUSY: i32 = 5;
pub const READONLY: i32 = 8;
pub const IOERR: i32 = 10;
pub const CORRUPT: i32 = 11;
pub const FULL: i32 = 13;
pub const CANTOPEN: i32 = 14;
pub const NOTADB: i32 = 26;

/// The primary result code, if the error is one of SQLite's.
pub fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}

/// What the caller learns; the detail goes to the log.
pub fn from_sqlx(error: sqlx::Error) -> Error {
    tracing::error!(%error, code = ?primary_code(&error), "SQLite failed");
    match primary_code(&error) {
        Some(FULL) => Error::StoreFull,
        Some(READONLY) => Error::StoreReadOnly,
        Some(CORRUPT | NOTADB) => Error::StoreDamaged,
        Some(BUSY | IOERR | CANTOPEN) => Error::StoreUnavailable,
        Some(_) => Error::Internal,
        None => match error {
            sqlx::Error::PoolClosed => Error::ShuttingDown,
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Error::StoreUnavailable,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Error::StoreDamaged,
            _ => Error::Internal,
        },
    }
}
