//! Executor for statements, either on a kept session or on a connection of a transaction pooler.
//!
//! A transaction pooler keeps neither settings nor prepared statements between transactions. Behind a pooler every
//! statement runs in a transaction that applies the settings, and prepared statements are unnamed.

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgTransaction, Postgres, SqlStr};

/// Executor of statements on a borrowed connection.
#[derive(Debug)]
pub struct PgExecutor<'c> {
    connection: &'c mut PgConnection,
    /// Whether prepared statements are named and reused.
    is_session: bool,
}

/// A connection during one read.
#[derive(Debug)]
pub enum Reading<'c> {
    /// A kept session: settings and prepared statements persist.
    Session(&'c mut PgConnection),
    /// A read-only transaction, rolled back on drop if the read is cancelled.
    Transaction(PgTransaction<'c>),
}

impl<'c> PgExecutor<'c> {
    /// Executor on a kept session.
    pub fn session(connection: &'c mut PgConnection) -> Self {
        Self { connection, is_session: true }
    }

    /// Executor on a connection in a transaction, with unnamed prepared statements.
    pub fn pooled(connection: &'c mut PgConnection) -> Self {
        Self { connection, is_session: false }
    }
}

impl Reading<'_> {
    /// Executor for the statements of the read.
    pub fn executor(&mut self) -> PgExecutor<'_> {
        match self {
            Self::Session(connection) => PgExecutor::session(connection),
            Self::Transaction(transaction) => PgExecutor::pooled(transaction),
        }
    }

    /// Ends the read; required after success and after an error.
    pub async fn end(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Session(_) => Ok(()),
            Self::Transaction(transaction) => transaction.rollback().await,
        }
    }
}

impl<'c> Executor<'c> for &'c mut PgExecutor<'_> {
    type Database = Postgres;

    fn fetch_many<'e, 'q, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let is_session = self.is_session;
        self.connection.fetch_many(Statement { query, is_session })
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let is_session = self.is_session;
        self.connection.fetch_optional(Statement { query, is_session })
    }

    fn prepare_with<'e>(self, sql: SqlStr, _: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(ready(Err(never_asked(&sql))))
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(ready(Err(never_asked(&sql))))
    }
}

/// `Executor::prepare` would name the statement; all statements of this store are executed directly.
fn never_asked(sql: &SqlStr) -> sqlx::Error {
    sqlx::Error::InvalidArgument(format!("not to be prepared: {}", sql.as_str()))
}

/// A query whose prepared statement is named only if the session is kept.
struct Statement<E> {
    query: E,
    is_session: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.is_session && self.query.persistent()
    }
}
