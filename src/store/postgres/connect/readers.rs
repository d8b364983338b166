//! The read pool. Reads change no data, so a read with a transient error is retried.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::time::Instant;

use super::retry::RetryPolicy;
use super::session::Session;
use crate::store::postgres::epochs::Epochs;
use crate::store::postgres::error::Fault;
use crate::store::postgres::event_row::EventRow;
use crate::store::postgres::read::{self, FeedEnds};
use crate::store::{ProjectNumber, Range, RunKey};

/// A connection pool with the deadlines of reads.
#[derive(Debug)]
pub struct Readers {
    pub pool: PgPool,
    /// Settings of new connections.
    pub session: Arc<Session>,
    /// Known epochs, compared with the lineage of connections.
    pub epochs: Arc<Epochs>,
    /// Retry deadline of one read.
    pub retry: Duration,
    /// Client-side deadline of one attempt.
    pub statement_deadline: Duration,
}

/// Runs `$work`, which fails with `Fault`, with a pooled connection and retries transient errors. A macro, because a closure
/// could not lend the connection to a future that is `Send`.
macro_rules! attempted {
    ($readers:expr, $pooled:ident => $work:expr) => {{
        let readers: &$crate::store::postgres::connect::readers::Readers = $readers;
        let mut retry_policy = readers.retry_policy();
        loop {
            let fault = match readers.acquire().await {
                Err(fault) => fault,
                Ok(mut $pooled) => {
                    let done = tokio::time::timeout(readers.statement_deadline, async { $work });
                    match done.await.unwrap_or(Err($crate::store::postgres::error::Fault::Timeout)) {
                        Ok(done) => break Ok(done),
                        Err(fault) => {
                            if !fault.leaves_connection() {
                                $pooled.close_on_drop();
                            }
                            fault
                        }
                    }
                }
            };
            if !retry_policy.again(&fault).await {
                break Err(fault);
            }
        }
    }};
}
pub(crate) use attempted;

/// Runs the read `$work` with a connection and retries transient errors.
macro_rules! retried {
    ($readers:expr, $connection:ident => $work:expr) => {{
        let readers: &$crate::store::postgres::connect::readers::Readers = $readers;
        $crate::store::postgres::connect::readers::attempted!(readers, pooled => {
            let mut reading = readers.session.reading(&mut pooled).await?;
            let $connection = &mut reading.executor();
            let done = $work.await;
            reading.end().await?;
            done
        })
    }};
}
pub(crate) use retried;

/// Runs `$work` in a transaction, and retries transient errors. If the last attempt failed, an attempt may have been stored.
macro_rules! written {
    ($readers:expr, $transaction:ident => $work:expr) => {{
        let readers: &$crate::store::postgres::connect::readers::Readers = $readers;
        let done: std::result::Result<_, $crate::store::postgres::error::Fault> =
            $crate::store::postgres::connect::readers::attempted!(readers, pooled => {
                let begin = sqlx::AssertSqlSafe(readers.session.begin.clone());
                let mut transaction = sqlx::Connection::begin_with(&mut *pooled, begin).await?;
                let $transaction: &mut sqlx::PgConnection = &mut transaction;
                let done = $work.await?;
                transaction.commit().await?;
                Ok(done)
            });
        done.map_err(|fault| fault.into_error().after_commit())
    }};
}
pub(crate) use written;

impl Readers {
    /// Retry state of a read that begins now.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::until(Instant::now() + self.retry)
    }

    /// A pooled connection; the server may have closed the connection meanwhile.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, Fault> {
        Ok(self.pool.acquire().await?)
    }

    /// Compares the lineage of a connection with the known lineage. Behind a pooler the server may have changed.
    pub async fn check_lineage(&self) -> Result<(), Fault> {
        let mut connection = self.acquire().await?;
        let checked = tokio::time::timeout(self.statement_deadline, self.epochs.check(&mut connection)).await;
        let checked = checked.map_err(|_| Fault::Timeout).and_then(|checked| Ok(checked?));
        if checked.is_err() {
            connection.close_on_drop();
        }
        checked
    }

    /// Begins an epoch because the feed ends before an announced position.
    pub async fn begin_after_loss(&self) -> Result<(), Fault> {
        let mut connection = self.acquire().await?;
        Ok(self.epochs.begin_after_loss(&mut connection).await?)
    }

    /// Reads the end of the feed, for the readiness check.
    pub async fn answers(&self) -> Result<(), Fault> {
        let mut connection = self.acquire().await?;
        let asked = tokio::time::timeout(self.statement_deadline, async {
            let mut reading = self.session.reading(&mut connection).await?;
            read::feed_end(&mut reading.executor(), ProjectNumber::DEFAULT).await?;
            Ok(reading.end().await?)
        });
        let asked = asked.await.unwrap_or(Err(Fault::Timeout));
        if asked.is_err() {
            connection.close_on_drop();
        }
        asked
    }

    /// First position of a feed that is kept.
    pub async fn feed_first(&self, project: ProjectNumber) -> Result<u64, Fault> {
        retried!(self, connection => async { Ok(read::feed_extent(connection, project).await?.first) })
    }

    /// Ends and removals of all feeds, for the replica with this name.
    pub async fn feed_ends(&self, replica: &str) -> Result<FeedEnds, Fault> {
        retried!(self, connection => async { Ok(read::feed_ends(connection, replica).await?) })
    }

    /// Events of a feed up to the position `to`.
    pub async fn feed_rows(&self, project: ProjectNumber, range: Range, to: u64) -> Result<Vec<EventRow>, Fault> {
        retried!(self, connection => read::feed_rows(connection, project, range, Some(to)))
    }

    /// Events of these runs of a project in its feed up to the position `to`.
    pub async fn feed_rows_of(
        &self,
        project: ProjectNumber,
        range: Range,
        to: u64,
        runs: &[RunKey],
    ) -> Result<Vec<EventRow>, Fault> {
        retried!(self, connection => read::feed_rows_of(connection, project, range, to, runs))
    }
}
