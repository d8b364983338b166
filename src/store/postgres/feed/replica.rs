//! This replica in the table `replicas`. A replica may serve events from memory for the length of a lease after it last read the
//! numbers of removals. An erasure is answered when every replica in the table has seen its transaction, or a lease has passed.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::domain::Result;
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::connect::readers::{Readers, written};
use crate::store::postgres::read::FeedEnds;

/// Time for which memory may be served after a look at the removals began. The same in all replicas.
pub const LEASE: Duration = Duration::from_secs(5);

/// Longest pause between two looks, more than the usual one between polls.
pub const RENEWAL: Duration = Duration::from_millis(1_500);

/// Longest wait for the database at the end of the replica.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// This replica.
#[derive(Debug)]
pub struct Replica {
    /// Unique name of this start.
    pub name: String,
    started: Instant,
    /// End of the lease, milliseconds after the start.
    until: AtomicU64,
}

impl Replica {
    /// A replica without a lease.
    pub fn new() -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Self { name, started: Instant::now(), until: AtomicU64::new(0) }
    }

    /// Whether events in memory may be served.
    pub fn may_serve_memory(&self) -> bool {
        self.started.elapsed() < Duration::from_millis(self.until.load(Relaxed))
    }

    /// Renews the lease with a look that began then, and found the replica in the table.
    pub fn renew(&self, began: Instant) {
        let until = began.saturating_duration_since(self.started) + LEASE;
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Enters the replica at its start.
    pub async fn enter(&self, first: &mut PgConnection, seen: &FeedEnds) -> Result<(), sqlx::Error> {
        let mut transaction = first.begin().await?;
        write(&mut transaction, &self.name, seen).await?;
        transaction.commit().await
    }

    /// Writes what the replica has seen, after the listener was notified.
    pub async fn acknowledge(&self, readers: &Readers, seen: &FeedEnds) -> Result<()> {
        written!(readers, connection => write(connection, &self.name, seen))
    }

    /// Ends the lease, and removes the entry as far as the database answers; an erasure removes what is left.
    pub async fn leave(&self, readers: &Readers) {
        self.until.store(0, Relaxed);
        let left = async { written!(readers, connection => delete(connection, &self.name)) };
        if !matches!(tokio::time::timeout(LEAVE_WAIT, left).await, Ok(Ok(()))) {
            tracing::info!("the entry of this replica is left in the table `replicas`");
        }
    }
}

/// A snapshot need not reach the disk: an older one only makes an erasure wait. A new entry does, so that a restart of the server
/// does not hide a replica from erasures; it waits for no standby, since a replica also starts while none is attached.
async fn write(connection: &mut PgConnection, name: &str, seen: &FeedEnds) -> Result<(), sqlx::Error> {
    const UPDATE: &str = "UPDATE replicas SET seen = $2::text::pg_snapshot WHERE name = $1";
    const QUICK: &str = "SET LOCAL synchronous_commit = off";
    const INSERT: &str = "INSERT INTO replicas (name, seen) VALUES ($1, $2::text::pg_snapshot) \
        ON CONFLICT (name) DO UPDATE SET seen = excluded.seen";
    const LOCAL: &str = "SET LOCAL synchronous_commit = local";
    let mut executor = PgExecutor::pooled(connection);
    let update = sqlx::query(UPDATE).bind(name).bind(&seen.snapshot).execute(&mut executor).await?;
    if update.rows_affected() > 0 {
        sqlx::query(QUICK).execute(&mut executor).await?;
    } else {
        sqlx::query(INSERT).bind(name).bind(&seen.snapshot).execute(&mut executor).await?;
        sqlx::query(LOCAL).execute(&mut executor).await?;
    }
    Ok(())
}

async fn delete(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    const DELETE: &str = "DELETE FROM replicas WHERE name = $1";
    sqlx::query(DELETE).bind(name).execute(&mut PgExecutor::pooled(connection)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_may_be_served_for_a_lease_after_a_look_began() {
        let replica = Replica::new();
        assert!(!replica.may_serve_memory());
        replica.renew(Instant::now());
        assert!(replica.may_serve_memory());
        let started = Instant::now().checked_sub(LEASE).unwrap();
        let replica = Replica { started, ..replica };
        replica.renew(started);
        assert!(!replica.may_serve_memory());
    }
}
