//! Erased payloads in the files of the server. An update leaves the former row in its page, and a plain VACUUM makes its place
//! free without overwriting it; only a rewritten table has nothing left.

use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep, timeout};

use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;

use super::Removals;

/// Tables with payloads, or with documents that come from them.
const TABLES: [&str; 2] = ["events", "run_documents"];

/// Maximum size of a table, with indexes, that is rewritten. Meanwhile the table is locked: about a second.
const MAX_REWRITTEN_BYTES: i64 = 64 << 20;

/// Maximum wait for older snapshots, which keep former rows alive.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(5);
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(50);

/// Maximum duration of each statement.
const VACUUM_TIME: Duration = Duration::from_secs(60);

/// While VACUUM FULL waits for the lock of a table, commits wait behind it.
const SETTINGS: &str = "SET lock_timeout = 1000; SET statement_timeout = 60000";

impl Removals {
    /// Removes what was erased by this transaction, or before it, from the files as far as possible. Failures are logged: readers
    /// get nothing that is erased, and a later erasure tries again.
    pub(super) async fn clear_files(&self, transaction: &str) {
        let cleared = timeout(3 * VACUUM_TIME, self.try_clear_files(transaction)).await;
        if let Err(fault) = cleared.unwrap_or(Err(Fault::Timeout)) {
            tracing::warn!(?fault, "erased payloads may be left in free space of the database files; see VACUUM");
        }
    }

    async fn try_clear_files(&self, transaction: &str) -> Result<(), Fault> {
        let mut connection = PgConnection::connect_with(&self.connect).await?;
        // Behind a transaction pooler no setting bounds the wait for a lock.
        let keeps_session = self.readers.session.keeps_session();
        if keeps_session {
            sqlx::raw_sql(SETTINGS).execute(&mut connection).await?;
        }
        wait_for_snapshots(&mut connection, transaction).await?;
        for table in TABLES {
            self.clear(&mut connection, table, keeps_session).await?;
        }
        Ok(connection.close().await?)
    }

    async fn clear(&self, connection: &mut PgConnection, table: &str, may_rewrite: bool) -> Result<(), Fault> {
        const TABLE: &str = "SELECT pg_total_relation_size(oid), pg_has_role(relowner, 'USAGE') FROM pg_class \
            WHERE oid = $1::regclass";
        let mut executor = PgExecutor::pooled(connection);
        let (bytes, is_owner): (i64, bool) = sqlx::query_as(TABLE).bind(table).fetch_one(&mut executor).await?;
        if !is_owner {
            tracing::warn!(
                table,
                "erased payloads may be left in free space of its files: only its owner may VACUUM it"
            );
            return Ok(());
        }
        if may_rewrite && bytes <= MAX_REWRITTEN_BYTES {
            match run(connection, format!("VACUUM FULL {table}")).await {
                Ok(()) => return Ok(()),
                Err(fault) => tracing::info!(?fault, table, "VACUUM FULL after an erasure"),
            }
        }
        tracing::warn!(table, bytes, "erased payloads may be left in free space of its files until VACUUM FULL");
        run(connection, format!("VACUUM {table}")).await
    }
}

/// VACUUM must be the only statement of its message.
async fn run(connection: &mut PgConnection, sql: String) -> Result<(), Fault> {
    let ran = timeout(VACUUM_TIME, sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection)).await;
    ran.map_err(|_| Fault::Timeout)??;
    Ok(())
}

/// Waits until no snapshot, as far as this user may see them, is older than the transaction.
async fn wait_for_snapshots(connection: &mut PgConnection, transaction: &str) -> Result<(), Fault> {
    const OLDER: &str = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
        AND (datname = current_database() OR datname IS NULL) \
        AND age(backend_xmin) >= age((($1::text::numeric % 4294967296)::text)::xid)";
    let until = Instant::now() + SNAPSHOT_WAIT;
    loop {
        let mut executor = PgExecutor::pooled(connection);
        let older: i64 = sqlx::query_scalar(OLDER).bind(transaction).fetch_one(&mut executor).await?;
        if older == 0 {
            return Ok(());
        }
        if Instant::now() >= until {
            tracing::warn!(older, "old snapshots keep erased payloads in the database files; VACUUM after their end");
            return Ok(());
        }
        sleep(SNAPSHOT_PAUSE).await;
    }
}
