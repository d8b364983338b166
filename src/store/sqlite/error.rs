//! Maps SQLite result codes to domain errors. Codes, never message texts: <https://www.sqlite.org/rescode.html>.

use crate::domain::Error;
use crate::store::failures::counted;

/// Primary result codes that have a meaning of their own here.
pub const BUSY: i32 = 5;
pub const READONLY: i32 = 8;
pub const IOERR: i32 = 10;
pub const CORRUPT: i32 = 11;
pub const FULL: i32 = 13;
pub const CANTOPEN: i32 = 14;
pub const NOTADB: i32 = 26;

/// Primary result codes of a statement or a COMMIT that failed before its last page reached the write-ahead log: the
/// transaction is certainly not stored. ERROR, PERM, ABORT, BUSY, LOCKED, READONLY, CORRUPT, FULL, CANTOPEN, SCHEMA,
/// TOOBIG, CONSTRAINT, MISMATCH, NOTADB.
const REFUSALS: [i32; 14] = [1, 3, 4, BUSY, 6, READONLY, CORRUPT, FULL, CANTOPEN, 17, 18, 19, 20, NOTADB];

/// Primary result code of an SQLite error; `None` for other errors.
pub fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}

/// Error for the producers of a failed commit.
///
/// An I/O error may come after all pages are in the write-ahead log, while the log is synced or its index grows. This
/// process does not see these pages, and the next commit overwrites them. But if the process dies before the next
/// commit, recovery at the next start finds a complete transaction. So every code outside [`REFUSALS`] leaves the
/// commit in doubt.
pub fn of_commit(error: sqlx::Error) -> Error {
    if primary_code(&error).is_some_and(|code| REFUSALS.contains(&code)) {
        return from_sqlx(error);
    }
    tracing::error!(%error, code = ?primary_code(&error), "SQLite failed; the outcome of a commit is not known");
    counted(Error::OutcomeUnknown)
}

/// Error for the caller; the detail goes to the program's log.
pub fn from_sqlx(error: sqlx::Error) -> Error {
    tracing::error!(%error, code = ?primary_code(&error), "SQLite failed");
    counted(match primary_code(&error) {
        Some(FULL) => Error::StoreFull,
        Some(READONLY) => Error::StoreReadOnly,
        Some(CORRUPT | NOTADB) => Error::StoreDamaged,
        Some(BUSY | IOERR | CANTOPEN) => Error::StoreUnavailable,
        Some(_) => Error::internal(error),
        None => match error {
            sqlx::Error::PoolClosed => Error::ShuttingDown,
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => Error::StoreUnavailable,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Error::StoreDamaged,
            error => Error::internal(error),
        },
    })
}

/// Error of one step of maintenance. The retrying caller logs the error once for each outage.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Error of an SQLite statement.
    #[error("{0}")]
    Sqlite(#[from] sqlx::Error),
    /// Stored content that cannot be decoded, or with a wrong checksum.
    #[error("{0}")]
    Content(#[from] Error),
}

impl StepError {
    /// Domain error, for a caller that does not retry.
    pub fn into_error(self) -> Error {
        match self {
            Self::Sqlite(error) => from_sqlx(error),
            Self::Content(error) => error,
        }
    }

    pub fn is_full(&self) -> bool {
        matches!(self, Self::Sqlite(error) if primary_code(error) == Some(FULL))
    }
}
