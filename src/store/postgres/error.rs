//! Conversion of SQLSTATE codes into [`Error`], by codes and constraint names, never by message texts:
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::domain::Error;
use crate::store::failures::counted;

pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub const NO_SUCH_DATABASE: &str = "3D000";
pub const CANNOT_CONNECT_NOW: &str = "57P03";
pub const READ_ONLY: &str = "25006";
pub const LOCK_TIMEOUT: &str = "55P03";
pub const STATEMENT_TIMEOUT: &str = "57014";
const ABORTED: &str = "25P02";
const COMPLETION_UNKNOWN: &str = "40003";
const UNIQUE_VIOLATION: &str = "23505";

/// Unique constraints violated by a concurrent commit of another replica; a retry sees the rows of that commit.
const CONFLICTS: [&str; 5] = ["runs_run_id", "runs_run", "events_run_seq", "events_given_id", "events_pos"];

/// Failure of an operation: rejected for a reason of the domain, or failed in the database.
#[derive(Debug)]
pub enum Fault {
    /// The error for the caller; final.
    Rejected(Error),
    /// An error of the database or of the connection.
    Database(sqlx::Error),
    /// The server did not answer within the client-side deadline.
    Timeout,
    /// A conflict with a commit of another replica; a retry sees the rows of that commit.
    Conflict,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Rejected(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Fault {
    /// Whether the error is transient: a retry may succeed, perhaps on a different connection or server.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rejected(_) => false,
            Self::Timeout | Self::Conflict => true,
            Self::Database(error) => is_transient(error),
        }
    }

    /// Whether the server itself rejected a statement or a COMMIT and rolled back. False if the rejection ended the
    /// session, or came from a proxy: the transaction may have been committed before.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Conflict => true,
            Self::Timeout => false,
            // An encoding error prevents the statement from being sent.
            Self::Database(sqlx::Error::Encode(_)) => true,
            Self::Database(error) => {
                let refusal = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
                let is_error = refusal.is_some_and(|refusal| refusal.severity() == PgSeverity::Error);
                is_error && self.leaves_connection() && code(error).is_none_or(|code| code != COMPLETION_UNKNOWN)
            }
        }
    }

    /// Whether the connection stays usable after a ROLLBACK.
    pub fn leaves_connection(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Conflict => true,
            Self::Database(error) => {
                // `25P02`: the session still contains a failed transaction that was never rolled back.
                let is_lost = |code: &str| code.starts_with("57P") || code.starts_with("08") || code == ABORTED;
                code(error).is_some_and(|code| !is_lost(&code))
            }
            Self::Timeout => false,
        }
    }

    /// Converts into the error for the caller; details go to the log.
    pub fn into_error(self) -> Error {
        match self {
            Self::Rejected(error) => error,
            Self::Timeout => {
                tracing::error!("PostgreSQL does not answer");
                counted(Error::StoreUnavailable)
            }
            Self::Conflict => {
                tracing::error!("other replicas were first again and again");
                counted(Error::StoreUnavailable)
            }
            Self::Database(error) => counted(from_sqlx(&error)),
        }
    }
}

/// The SQLSTATE, if the server sent an error response.
pub fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

fn is_transient(error: &sqlx::Error) -> bool {
    let Some(code) = code(error) else {
        use sqlx::Error::{Io, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        return matches!(error, Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | WorkerCrashed);
    };
    match code.as_str() {
        // A conflict with another replica, also if both inserted the same event id concurrently.
        UNIQUE_VIOLATION => {
            error.as_database_error().and_then(|e| e.constraint()).is_some_and(|name| CONFLICTS.contains(&name))
        }
        // Disk full (`53100`): retrying is the client's decision.
        "53100" => false,
        // A standby before its promotion; a lock or statement timeout; an idle-in-transaction timeout; a failed
        // transaction; a prepared statement lost by a pooler.
        READ_ONLY | LOCK_TIMEOUT | STATEMENT_TIMEOUT | "25P03" | ABORTED | "26000" => true,
        // Classes: connection exceptions, transaction rollback (serialization, deadlock), insufficient resources,
        // operator intervention (shutdown, startup).
        code => ["08", "40", "53", "57P"].iter().any(|class| code.starts_with(class)),
    }
}

fn from_sqlx(error: &sqlx::Error) -> Error {
    let code = code(error);
    tracing::error!(%error, ?code, "PostgreSQL failed");
    match code.as_deref() {
        Some("53100") => Error::StoreFull,
        Some(READ_ONLY) => Error::StoreReadOnly,
        Some("XX001" | "XX002") => Error::StoreDamaged,
        _ if is_transient(error) => Error::StoreUnavailable,
        Some(code) if code.starts_with("28") => Error::StoreUnavailable,
        Some(_) => Error::internal(error),
        None => match error {
            sqlx::Error::PoolClosed => Error::ShuttingDown,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Error::StoreDamaged,
            _ => Error::internal(error),
        },
    }
}
