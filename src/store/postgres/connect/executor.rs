//! A connection as the statements see it.
//!
//! A pooler that gives out a server's connection for one transaction keeps neither settings nor prepared statements for
//! us. Behind one, whatever is asked is asked within a transaction that makes the settings, and statements have no names.

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Describe, Either, Execute, Executor, PgConnection, PgTransaction, Postgres, SqlStr};

/// See the module.
#[derive(Debug)]
pub struct PgExecutor<'c> {
    connection: &'c mut PgConnection,
    /// Statements are prepared once and kept under names.
    is_kept: bool,
}

/// A connection while something is read.
#[derive(Debug)]
pub enum Reading<'c> {
    /// It keeps its settings and statements.
    Kept(&'c mut PgConnection),
    /// Ended also where nobody waits for the answer any more.
    Transaction(PgTransaction<'c>),
}

impl<'c> PgExecutor<'c> {
    /// Of a connection that keeps its settings and statements.
    pub fn kept(connection: &'c mut PgConnection) -> Self {
        Self { connection, is_kept: true }
    }

    /// Of a connection that is in a transaction.
    pub fn lent(connection: &'c mut PgConnection) -> Self {
        Self { connection, is_kept: false }
    }
}

impl Reading<'_> {
    /// What statements are executed on.
    pub fn link(&mut self) -> PgExecutor<'_> {
        match self {
            Self::Kept(connection) => PgExecutor::kept(connection),
            Self::Transaction(transaction) => PgExecutor::lent(transaction),
        }
    }

    /// After what was read, and after an error.
    pub async fn end(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Kept(_) => Ok(()),
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
        let is_kept = self.is_kept;
        self.connection.fetch_many(Statement { query, is_kept })
    }

    fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        'q: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let is_kept = self.is_kept;
        self.connection.fetch_optional(Statement { query, is_kept })
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

/// Statements are executed here, never prepared for later: that gives them names.
fn never_asked(sql: &SqlStr) -> sqlx::Error {
    sqlx::Error::InvalidArgument(format!("not to be prepared: {}", sql.as_str()))
}

/// A query whose statement is kept only where it may be.
struct Statement<E> {
    query: E,
    is_kept: bool,
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
        self.is_kept && self.query.persistent()
    }
}
