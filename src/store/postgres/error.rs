//! From SQLSTATE codes to the one error. Codes and names of constraints, never message texts:
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::domain::Error;
use crate::store::failures::counted;

pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
pub const NO_SUCH_DATABASE: &str = "3D000";
pub const CANNOT_CONNECT_NOW: &str = "57P03";
pub const READ_ONLY: &str = "25006";
const ABORTED: &str = "25P02";
const COMPLETION_UNKNOWN: &str = "40003";
const UNIQUE_VIOLATION: &str = "23505";

/// Unique constraints that another replica may have filled first; a new try sees its rows.
const CONFLICTS: [&str; 5] = ["runs_run_id", "runs_run", "events_run_seq", "events_given_id", "events_pos"];

/// Why something did not work: the answer is no, or the database failed.
#[derive(Debug)]
pub enum Fault {
    /// What the caller learns.
    Rejected(Error),
    /// The database or the way to it.
    Database(sqlx::Error),
    /// It took longer than the server itself would have let it.
    Timeout,
    /// Another replica was first; a new try sees its rows.
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
    /// Whether the same may work in a moment, perhaps with another connection or another server.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Rejected(_) => false,
            Self::Timeout | Self::Conflict => true,
            Self::Database(error) => is_transient(error),
        }
    }

    /// Whether the server said no to a statement or a COMMIT, and so undid it. Not where it ended the session with that, or
    /// somebody between answered in its place: it may have committed before.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Conflict => true,
            Self::Timeout => false,
            // Not sent.
            Self::Database(sqlx::Error::Encode(_)) => true,
            Self::Database(error) => {
                let refusal = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
                let is_error = refusal.is_some_and(|refusal| refusal.severity() == PgSeverity::Error);
                is_error && self.leaves_connection() && code(error).is_none_or(|code| code != COMPLETION_UNKNOWN)
            }
        }
    }

    /// Whether the connection is in order and only its transaction is not.
    pub fn leaves_connection(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Conflict => true,
            Self::Database(error) => {
                // A transaction that failed while it was opened is still there.
                let is_lost = |code: &str| code.starts_with("57P") || code.starts_with("08") || code == ABORTED;
                code(error).is_some_and(|code| !is_lost(&code))
            }
            Self::Timeout => false,
        }
    }

    /// What the caller learns; the detail goes to the log.
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

/// The SQLSTATE, if the server itself refused.
pub fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

fn is_transient(error: &sqlx::Error) -> bool {
    let Some(code) = code(error) else {
        use sqlx::Error::{Io, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        return matches!(error, Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | WorkerCrashed);
    };
    match code.as_str() {
        // Another replica was first; also where the same name was given at the same moment.
        UNIQUE_VIOLATION => {
            error.as_database_error().and_then(|e| e.constraint()).is_some_and(|name| CONFLICTS.contains(&name))
        }
        // Disk full: waiting for it is the client's choice.
        "53100" => false,
        // A standby that is not promoted yet; a lock or a statement that took too long; a transaction that idled; a
        // prepared statement that a pooler lost.
        READ_ONLY | "55P03" | "57014" | "25P03" | ABORTED | "26000" => true,
        // Connection, serialization and deadlock, resources, shutdown and start.
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
        Some(_) => Error::Internal,
        None => match error {
            sqlx::Error::PoolClosed => Error::ShuttingDown,
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Error::StoreDamaged,
            _ => Error::Internal,
        },
    }
}
