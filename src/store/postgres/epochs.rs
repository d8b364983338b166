//! Epochs of the database. PostgreSQL may go back in time while replicas serve: a standby without the last commits is
//! promoted, or a backup is restored. Both need a server start or a promotion, so the replica reads the lineage
//! (timeline and start time of the server) on every new connection and at every poll. The first replica that finds a
//! new lineage begins an epoch. Meanwhile the replica locks the row of the feed, so that no commit of a replica that
//! supports epochs comes in between.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use sqlx::{Connection, PgConnection};

use crate::domain::FeedId;
use crate::domain::history::{Epoch, History};
use crate::store::CommitListener;
use crate::store::history::{CurrentHistory, begin_epoch};

use super::connect::executor::PgExecutor;

/// Timeline and start time of the server; NULL on a standby.
macro_rules! lineage {
    () => {
        "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' \
         || extract(epoch FROM pg_postmaster_start_time())::text END"
    };
}

/// The known epochs, shared by all connections of a replica.
pub struct Epochs {
    pub current: CurrentHistory,
    listener: Arc<dyn CommitListener>,
    known: Mutex<KnownLineage>,
}

struct KnownLineage {
    /// Lineage of the newest epoch.
    lineage: Option<String>,
    /// Time of the last change of the history: older connections may lead to the previous server.
    since: Instant,
}

/// A row of `epochs`, with the lineage of the server that was asked.
#[derive(sqlx::FromRow)]
struct EpochRow {
    epoch: i64,
    id: i64,
    start: i64,
    lineage: Option<String>,
    server_lineage: Option<String>,
}

/// Epochs and lineage as read from the database.
struct Found {
    epochs: Vec<Epoch>,
    lineage: Option<String>,
}

impl Epochs {
    /// Reads the epochs, and begins a new epoch if the lineage has changed.
    pub async fn open(
        connection: &mut PgConnection,
        feed: FeedId,
        listener: Arc<dyn CommitListener>,
    ) -> Result<Self, sqlx::Error> {
        let Found { epochs, lineage } = begin(connection, false).await?;
        let current = CurrentHistory::new(History::new(feed, epochs));
        Ok(Self { current, listener, known: Mutex::new(KnownLineage { lineage, since: Instant::now() }) })
    }

    /// Compares the lineage of the connection with the known lineage. After the return every read on the connection
    /// belongs to the current history.
    pub async fn check(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        const LINEAGE: &str = concat!("SELECT ", lineage!());
        let mut transaction = connection.begin().await?;
        let here: Option<String> =
            sqlx::query_scalar(LINEAGE).fetch_one(&mut PgExecutor::pooled(&mut transaction)).await?;
        transaction.rollback().await?;
        if here.is_none() || here == self.known.lock().lineage {
            return Ok(());
        }
        let found = begin(connection, false).await?;
        self.take(found);
        Ok(())
    }

    /// Begins an epoch under an unchanged lineage, because the feed ends before an already announced position.
    pub async fn begin_after_loss(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let found = begin(connection, true).await?;
        self.take(found);
        Ok(())
    }

    /// Whether a connection opened at this time leads to the server of the current history.
    pub fn is_current(&self, opened: Instant) -> bool {
        opened >= self.known.lock().since
    }

    fn take(&self, found: Found) {
        let mut known = self.known.lock();
        let history = History::new(self.current.get().feed, found.epochs);
        if *self.current.get() != history {
            let start = history.newest_start();
            tracing::warn!(
                start,
                lineage = found.lineage,
                "PostgreSQL has a new lineage: a new epoch of the feed begins"
            );
            self.current.replace(history, &*self.listener);
            known.since = Instant::now();
        }
        known.lineage = found.lineage;
    }
}

impl std::fmt::Debug for Epochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Epochs({:?})", self.current.get())
    }
}

/// Reads the epochs. Begins an epoch if the lineage differs from the lineage of the newest epoch, or if `forced`.
async fn begin(connection: &mut PgConnection, forced: bool) -> Result<Found, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let mut executor = PgExecutor::pooled(&mut transaction);
    let last: i64 =
        sqlx::query_scalar("SELECT last_pos FROM feed WHERE id = 1 FOR UPDATE").fetch_one(&mut executor).await?;
    // A separate statement, so that its snapshot includes commits made while the previous statement waited for the
    // lock.
    const ALL: &str =
        concat!("SELECT epoch, id, start, lineage, ", lineage!(), " AS server_lineage FROM epochs ORDER BY epoch");
    let rows: Vec<EpochRow> = sqlx::query_as(ALL).fetch_all(&mut executor).await?;
    let epoch = |row: &EpochRow| Epoch { id: u32::try_from(row.id).unwrap_or(0), start: row.start.unsigned_abs() };
    // The first epoch has the id 0 and is not listed.
    let mut epochs: Vec<Epoch> = rows.iter().map(epoch).filter(|epoch| epoch.id != 0).collect();
    let Some(newest) = rows.into_iter().next_back() else {
        return Ok(Found { epochs, lineage: None });
    };
    let EpochRow { epoch: number, lineage: known, server_lineage: here, .. } = newest;
    if known.is_none() && !forced {
        // First start of a version with epochs: the lineage is recorded.
        let first = sqlx::query("UPDATE epochs SET lineage = $1 WHERE epoch = $2").bind(&here).bind(number);
        first.execute(&mut executor).await?;
    } else if forced || known != here {
        let start = last.unsigned_abs();
        let epoch = begin_epoch(start);
        epochs.push(epoch);
        const BEGIN: &str = "INSERT INTO epochs (epoch, id, start, lineage) VALUES ($1, $2, $3, $4)";
        let begin = sqlx::query(BEGIN).bind(number + 1).bind(i64::from(epoch.id)).bind(last).bind(&here);
        begin.execute(&mut executor).await?;
    }
    transaction.commit().await?;
    // An epoch without events is skipped: every cursor issued in that epoch is valid in the previous epoch.
    let is_empty = |at: usize| epochs.get(at + 1).is_some_and(|next| next.start == epochs[at].start);
    let epochs = (0..epochs.len()).filter(|at| !is_empty(*at)).map(|at| epochs[at]).collect();
    Ok(Found { epochs, lineage: here })
}
