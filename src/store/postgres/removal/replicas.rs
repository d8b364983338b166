//! The memory of all replicas, at the end of an erasure.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::{Instant, sleep};

use crate::domain::Result;
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::connect::readers::{retried, written};
use crate::store::postgres::error::Fault;
use crate::store::postgres::feed::replica::LEASE;

use super::Removals;

/// Added to a lease, since clocks differ in speed.
const MARGIN: Duration = Duration::from_millis(500);

/// Pause between two looks at the table `replicas`.
const PAUSE: Duration = Duration::from_millis(20);

impl Removals {
    /// Waits until no replica serves from memory what this transaction, which is committed, or one before it has removed: at most
    /// for the lease of a replica that does not answer.
    pub(super) async fn dropped_everywhere(&self, transaction: &str) -> Result<()> {
        let until = Instant::now() + LEASE + MARGIN;
        // Without notifications the own follower would wait for its next look.
        self.signal.send_modify(|signal| signal.missed += 1);
        loop {
            let behind = retried!(&self.readers, connection => behind(connection, transaction));
            if behind.map_err(|fault| fault.into_error().after_commit())? == 0 {
                return Ok(());
            }
            if Instant::now() >= until {
                break;
            }
            sleep(PAUSE).await;
        }
        let gone = written!(&self.readers, connection => forget(connection, transaction))?;
        tracing::info!(
            replicas = gone,
            "replicas that ended, or do not reach the database, serve no event from memory"
        );
        Ok(())
    }
}

/// Number of replicas that may serve what the transaction has removed.
async fn behind(connection: &mut PgExecutor<'_>, transaction: &str) -> Result<i64, Fault> {
    const BEHIND: &str = "SELECT count(*) FROM replicas WHERE NOT pg_visible_in_snapshot($1::text::xid8, seen)";
    Ok(sqlx::query_scalar(BEHIND).bind(transaction).fetch_one(connection).await?)
}

/// Removes the entries of replicas whose lease has ended. One that lives enters itself again before it renews the lease.
async fn forget(connection: &mut PgConnection, transaction: &str) -> Result<u64, Fault> {
    const FORGET: &str = "DELETE FROM replicas WHERE NOT pg_visible_in_snapshot($1::text::xid8, seen)";
    let mut executor = PgExecutor::pooled(connection);
    Ok(sqlx::query(FORGET).bind(transaction).execute(&mut executor).await?.rows_affected())
}
