//! Writing: the transaction of a group, what is told of it, and what is done behind it before the next one.

use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinHandle;

use crate::domain::event::Appended;
use crate::domain::{Error, Result};
use crate::store::CommitListener;

use super::planner::{Planned, Writes};
use super::run_state::RunStateCache;
use crate::store::sqlite::error::{from_sqlx, of_commit};
use crate::store::sqlite::index::id_index::Ids;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::lock::FileLock;
use crate::store::sqlite::maintenance::Maintenance;
use crate::store::sqlite::maintenance::checkpointer::Checkpointer;
use crate::store::sqlite::maintenance::wal_preallocator::WalPreallocator;
use crate::store::sqlite::read::runs;
use crate::store::sqlite::read::view_flag::ViewFlag;
use crate::store::sqlite::recovery;
use crate::store::sqlite::recovery::RecoveredState;
use crate::store::sqlite::watch::FileWatch;
use crate::store::sqlite::{SqliteOptions, log_row, open};

/// Bytes that a commit writes besides its events, and a slice of maintenance: about, for the write-ahead log's bound.
const COMMIT_BYTES: usize = 8 << 10;
const SLICE_BYTES: usize = 512 << 10;

/// Rows of one INSERT: five variables each, of the 32,766 that SQLite takes in one statement.
const MAX_INSERT_ROWS: usize = 4_000;

/// The writer's connections and memory. What it holds in memory is what the file says, or `stale`.
pub struct Writer {
    pub options: SqliteOptions,
    pub connect: SqliteConnectOptions,
    pub connection: SqliteConnection,
    /// For maintenance, see [`open::maintenance_options`].
    pub maintenance_connection: SqliteConnection,
    pub checkpoints: Checkpointer,
    pub growth: WalPreallocator,
    pub listener: Arc<dyn CommitListener>,
    pub tail: Arc<UnindexedTail>,
    pub ids: Arc<Ids>,
    pub maintenance: Maintenance,
    /// After a failure the file is asked anew before anything else is planned.
    pub stale: bool,
    pub watch: Arc<FileWatch>,
    /// The task of the watch.
    pub watching: JoinHandle<()>,
    /// Held until the last commit is done, also when the store was dropped before: one process owns the file.
    pub _lock: Arc<FileLock>,
}

impl Writer {
    /// Commits what was planned, and tells of it. On an error nothing of it is stored, except for `OutcomeUnknown`.
    pub async fn store(&mut self, planned: Planned) -> Result<Vec<Result<Appended>>> {
        let Planned { outcomes, writes } = planned;
        let Some(mut writes) = writes else {
            // To repeat what is stored acknowledges it too.
            return self.watch.look_again().map(|()| outcomes);
        };
        self.watch.verdict()?;
        self.maintenance.unflushed.entries += writes.entries.len();
        // Before the commit: who sees its rows finds its events. Who finds these sooner is stopped by what is committed.
        self.tail.push(std::mem::take(&mut writes.entries));
        self.ids.extend(std::mem::take(&mut writes.ids));
        let began = Instant::now();
        if let Err(error) = self.write(&mut writes).await {
            self.stale = true;
            return Err(if matches!(error, Error::OutcomeUnknown) { error } else { self.cause(error) });
        }
        if self.watch.look_again().is_err() {
            self.stale = true;
            // It is committed to files that are lost, or were just before they were.
            return Err(Error::OutcomeUnknown);
        }
        measure(began, &writes);
        self.publish(writes);
        Ok(outcomes)
    }

    /// The transaction: all of it in one round to the connection's thread.
    async fn write(&mut self, writes: &mut Writes) -> Result<()> {
        let (run_rows, documents) = (writes.run_rows.take(), writes.documents.take());
        let sql = commit_sql(writes.rows.len(), run_rows.is_some(), documents.is_some());
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for row in &writes.rows {
            let (pos, count, flag) = (row.pos.cast_signed(), i64::from(row.count), ViewFlag::of(row.sensitive));
            let checksum = log_row::checksum(pos, count, flag, &row.data);
            query = query.bind(pos).bind(count).bind(flag).bind(row.data.to_vec()).bind(checksum);
        }
        // Both statements about documents take the same parameter.
        for json in run_rows.into_iter().chain(documents.clone()).chain(documents) {
            query = query.bind(json);
        }
        failpoint!("sqlite-commit-before", of_commit);
        query.execute(&mut self.connection).await.map_err(of_commit)?;
        failpoint!("sqlite-commit-after", of_commit);
        Ok(())
    }

    /// After the commit: memory, then the world.
    fn publish(&mut self, writes: Writes) {
        let bytes: usize = writes.rows.iter().map(|row| row.data.len()).sum();
        self.maintenance.unflushed.bytes += bytes;
        self.checkpoints.written(bytes + COMMIT_BYTES);
        self.growth.written(bytes + COMMIT_BYTES);
        self.tail.committed(writes.ends, writes.commit.feed_end.last);
        self.listener.committed(writes.commit);
    }

    /// After a commit of so many entries and ids: the slices of maintenance that are its share, all of those that are overdue, and
    /// more while nobody waits. What fails is tried again behind a later commit: events and memory are as they were.
    pub async fn run_maintenance(&mut self, share: (usize, usize), is_idle: impl Fn() -> bool) {
        if self.watch.verdict().is_err() {
            return;
        }
        self.slices(share, is_idle).await;
        self.growth.keep_ahead().await;
        self.checkpoints.bound(&mut self.maintenance_connection).await;
    }

    async fn slices(&mut self, (entries, ids): (usize, usize), is_idle: impl Fn() -> bool) {
        let mut share = self.maintenance.share(entries, ids);
        while !self.stale && self.maintenance.is_due(&self.tail, &self.ids) {
            if share == 0 && !self.maintenance.is_overdue(&self.ids) && !is_idle() {
                break;
            }
            share = share.saturating_sub(1);
            if self.maintenance.step(&mut self.maintenance_connection, &self.tail, &self.ids).await {
                self.checkpoints.written(SLICE_BYTES);
            } else if let Err(error) = self.reconnect_maintenance().await {
                tracing::debug!(%error, "the connection of maintenance is gone; it is made again behind a later commit");
            }
        }
    }

    /// Why nothing can be stored now, besides what a commit meets.
    pub fn refusal(&self) -> Option<Error> {
        self.watch.verdict().err().or_else(|| self.maintenance.refusal(&self.ids))
    }

    /// What an error comes from: files that are lost make SQLite find all kinds of damage.
    pub fn cause(&self, error: Error) -> Error {
        self.watch.look().err().unwrap_or(error)
    }

    /// After a failure: ends what is left of the transaction and brings memory back to what the file says. Returns the run_states to
    /// begin with.
    pub async fn refresh(&mut self) -> Result<RunStateCache> {
        // A new connection would make new files in the place of those that are lost.
        self.watch.verdict()?;
        // There may be no transaction any more; SQLite ends some itself.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        if self.connection.ping().await.is_err() {
            self.connection = SqliteConnection::connect_with(&self.connect).await.map_err(from_sqlx)?;
        }
        self.reconnect_maintenance().await.map_err(from_sqlx)?;
        failpoint!("sqlite-refresh-before", from_sqlx);
        let (last_run, last_position) = recovery::ends(&mut self.connection).await?;
        let run_states = if last_position == self.tail.last_position() {
            // The commit did not happen, and all before it is in memory.
            self.maintenance.unflushed.entries -= self.tail.retract();
            self.ids.retract(&self.tail);
            RunStateCache::new(last_run)
        } else {
            metrics::counter!("runlog_sqlite_log_rereads_total").increment(1);
            let memory = RecoveredState::load(&mut self.connection).await?;
            let run_states;
            (run_states, self.maintenance) = memory.install(&self.tail, &self.ids, &self.options);
            run_states
        };
        failpoint!("sqlite-refresh-after", from_sqlx);
        self.stale = false;
        Ok(run_states)
    }

    /// Where its thread has ended.
    async fn reconnect_maintenance(&mut self) -> sqlx::Result<()> {
        if self.maintenance_connection.ping().await.is_err() {
            self.maintenance_connection =
                SqliteConnection::connect_with(&open::maintenance_options(&self.connect)).await?;
        }
        Ok(())
    }

    /// Ends.
    pub async fn close(self) {
        self.watch.end();
        self.watching.abort();
        let _ = self.watching.await;
        self.checkpoints.stop().await;
        // The last one to close moves the write-ahead log into the database.
        let closed = self.maintenance_connection.close().await;
        if let Err(error) = closed.and(self.connection.close().await) {
            tracing::warn!(%error, "closing the database failed; it is recovered at the next start");
        }
    }
}

fn measure(began: Instant, writes: &Writes) {
    let events = writes.events();
    metrics::counter!("runlog_published_events_total").increment(u64::from(events));
    metrics::histogram!("runlog_commit_events").record(f64::from(events));
    metrics::histogram!("runlog_commit_seconds").record(began.elapsed().as_secs_f64());
}

/// The statements of a commit with this many log rows. One statement takes all rows, unless they are very many: the
/// connection keeps the last 100 texts prepared, and five statements for each are little.
///
/// Most commits change no run's row. They are one statement, which is a transaction by itself: every further one wakes the
/// committer for nothing.
fn commit_sql(rows: usize, has_runs: bool, has_documents: bool) -> String {
    const ROW: &str = "(?, ?, ?, ?, ?)";
    let mut sql = String::new();
    let mut left = rows;
    while left > 0 {
        let count = left.min(MAX_INSERT_ROWS);
        sql.push_str("INSERT INTO log (pos, count, sensitive, data, checksum) VALUES ");
        sql.push_str(&vec![ROW; count].join(", "));
        sql.push_str(";\n");
        left -= count;
    }
    if rows <= MAX_INSERT_ROWS && !has_runs && !has_documents {
        return sql;
    }
    if has_runs {
        sql.push_str(runs::UPSERT_RUNS);
    }
    if has_documents {
        sql.push_str(runs::UPSERT_DOCUMENTS);
        sql.push_str(runs::DELETE_DOCUMENTS);
    }
    format!("BEGIN IMMEDIATE;\n{sql}COMMIT;")
}
