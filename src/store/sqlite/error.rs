//! From SQLite's result codes to the one error. Codes, never message texts: <https://www.sqlite.org/rescode.html>.

use crate::domain::Error;
use crate::store::failures::counted;

/// Primary result codes.
pub const BUSY: i32 = 5;
pub const READONLY: i32 = 8;
pub const IOERR: i32 = 10;
pub const CORRUPT: i32 = 11;
pub const FULL: i32 = 13;
pub const CANTOPEN: i32 = 14;
pub const NOTADB: i32 = 26;

/// Primary result codes with which a statement or a COMMIT is refused before its last page is in the write-ahead log: of a
/// transaction that failed so nothing is stored. ERROR, PERM, ABORT, BUSY, LOCKED, READONLY, CORRUPT, FULL, CANTOPEN, SCHEMA,
/// TOOBIG, CONSTRAINT, MISMATCH, NOTADB.
const REFUSALS: [i32; 14] = [1, 3, 4, BUSY, 6, READONLY, CORRUPT, FULL, CANTOPEN, 17, 18, 19, 20, NOTADB];

/// The primary result code, if the error is one of SQLite's.
pub fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}

/// What the producers of a commit learn that failed.
///
/// An I/O error may come after all pages are in the write-ahead log, when that is synced or its index grows: this process does
/// not see them, and the next commit takes their place. But if the process dies before that, the recovery at the next start
/// finds a whole transaction there. So whatever is no refusal leaves the outcome open.
pub fn of_commit(error: sqlx::Error) -> Error {
    if primary_code(&error).is_some_and(|code| REFUSALS.contains(&code)) {
        return from_sqlx(error);
    }
    tracing::error!(%error, code = ?primary_code(&error), "SQLite failed; the outcome of a commit is not known");
    counted(Error::OutcomeUnknown)
}

/// What the caller learns; the detail goes to the log.
pub fn from_sqlx(error: sqlx::Error) -> Error {
    tracing::error!(%error, code = ?primary_code(&error), "SQLite failed");
    counted(match primary_code(&error) {
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
    })
}

/// Why a step of maintenance failed. Whoever tries it again logs it, once for an outage.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// SQLite said so.
    #[error("{0}")]
    Sqlite(#[from] sqlx::Error),
    /// What was read makes no sense.
    #[error("{0}")]
    Content(#[from] Error),
}

impl StepError {
    /// For a caller that does not try again.
    pub fn into_error(self) -> Error {
        match self {
            Self::Sqlite(error) => from_sqlx(error),
            Self::Content(error) => error,
        }
    }

    /// Whether the disk was full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(error) if primary_code(error) == Some(FULL))
    }
}
