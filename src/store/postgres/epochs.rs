//! The epochs of a database. PostgreSQL may go back in time while replicas serve: a standby that lacked the last commits is
//! promoted, or a copy is put back. Either needs a server that was started or promoted since, so each connection is asked for
//! its lineage when it is opened, and again with each poll. The replica that finds a new one first begins an epoch; it holds
//! the row of the feed meanwhile, so that no commit of a replica that knows of epochs comes in between.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sqlx::{Connection, PgConnection};

use crate::domain::FeedId;
use crate::domain::history::{Epoch, History};
use crate::store::CommitListener;
use crate::store::history::{CurrentHistory, begin_epoch};

use super::connect::executor::PgExecutor;

/// Timeline and start of the server; null on a standby.
macro_rules! lineage {
    () => {
        "CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || ' ' \
         || extract(epoch FROM pg_postmaster_start_time())::text END"
    };
}

/// What is known of the epochs, shared by all connections of the replica.
pub struct Epochs {
    pub current: CurrentHistory,
    listener: Arc<dyn CommitListener>,
    known: Mutex<ExistingEvents>,
}

struct ExistingEvents {
    /// Of the newest epoch.
    lineage: Option<String>,
    /// When it was found to be another one: connections from before may lead to another server.
    since: Instant,
}

/// What the database says of its epochs.
struct Found {
    epochs: Vec<Epoch>,
    lineage: Option<String>,
}

impl Epochs {
    /// Reads them, and begins one where the lineage is new.
    pub async fn open(
        connection: &mut PgConnection,
        feed: FeedId,
        listener: Arc<dyn CommitListener>,
    ) -> Result<Self, sqlx::Error> {
        let Found { epochs, lineage } = begin(connection, false).await?;
        let current = CurrentHistory::new(History::new(feed, epochs));
        Ok(Self { current, listener, known: Mutex::new(ExistingEvents { lineage, since: Instant::now() }) })
    }

    /// Compares the lineage of this connection with the one that is known. Returns when all that is read on it afterwards is of
    /// the current history.
    pub async fn check(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        const LINEAGE: &str = concat!("SELECT ", lineage!());
        let mut transaction = connection.begin().await?;
        let here: Option<String> =
            sqlx::query_scalar(LINEAGE).fetch_one(&mut PgExecutor::lent(&mut transaction)).await?;
        transaction.rollback().await?;
        if here.is_none() || here == self.lock().lineage {
            return Ok(());
        }
        let found = begin(connection, false).await?;
        self.take(found);
        Ok(())
    }

    /// Begins an epoch though the lineage is the same: the feed ends before what was read of it.
    pub async fn begin_after_loss(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let found = begin(connection, true).await?;
        self.take(found);
        Ok(())
    }

    /// Whether a connection that was opened then leads to the server of the current history.
    pub fn is_current(&self, opened: Instant) -> bool {
        opened >= self.lock().since
    }

    fn take(&self, found: Found) {
        let mut known = self.lock();
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

    fn lock(&self) -> std::sync::MutexGuard<'_, ExistingEvents> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Epochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Epochs({:?})", self.current.get())
    }
}

/// Reads the epochs; begins one where the lineage is another than that of the newest, and in any case where it is `forced`.
async fn begin(connection: &mut PgConnection, forced: bool) -> Result<Found, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let mut link = PgExecutor::lent(&mut transaction);
    let last: i64 =
        sqlx::query_scalar("SELECT last_pos FROM feed WHERE id = 1 FOR UPDATE").fetch_one(&mut link).await?;
    // A statement of its own: it sees what was committed while the one before waited for the lock.
    const ALL: &str = concat!("SELECT epoch, id, start, lineage, ", lineage!(), " FROM epochs ORDER BY epoch");
    type Row = (i64, i64, i64, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(&mut link).await?;
    let epoch = |(_, id, start, ..): &Row| Epoch { id: u32::try_from(*id).unwrap_or(0), start: start.unsigned_abs() };
    // The first one has no name.
    let mut epochs: Vec<Epoch> = rows.iter().map(epoch).filter(|epoch| epoch.id != 0).collect();
    let Some((number, .., known, here)) = rows.into_iter().next_back() else {
        return Ok(Found { epochs, lineage: None });
    };
    if known.is_none() && !forced {
        // The first program of this version.
        let first = sqlx::query("UPDATE epochs SET lineage = $1 WHERE epoch = $2").bind(&here).bind(number);
        first.execute(&mut link).await?;
    } else if forced || known != here {
        let start = last.unsigned_abs();
        let epoch = begin_epoch(start);
        epochs.push(epoch);
        const BEGIN: &str = "INSERT INTO epochs (epoch, id, start, lineage) VALUES ($1, $2, $3, $4)";
        let begin = sqlx::query(BEGIN).bind(number + 1).bind(i64::from(epoch.id)).bind(last).bind(&here);
        begin.execute(&mut link).await?;
    }
    transaction.commit().await?;
    // Nothing was stored in these, so nothing was given out in them that is not of the one before.
    let is_empty = |at: usize| epochs.get(at + 1).is_some_and(|next| next.start == epochs[at].start);
    let epochs = (0..epochs.len()).filter(|at| !is_empty(*at)).map(|at| epochs[at]).collect();
    Ok(Found { epochs, lineage: here })
}
