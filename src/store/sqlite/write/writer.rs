//! The transaction of a group, the announcement after the commit, and maintenance before the next group.

use std::sync::Arc;
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinHandle;

use crate::domain::event::Appended;
use crate::domain::{Error, Result};
use crate::store::CommitListener;

use super::planner::{Planned, Writes, last_positions};
use super::run_state::RunStateCache;
use crate::store::commit::metrics::committed;
use crate::store::sqlite::error::{from_sqlx, of_commit};
use crate::store::sqlite::index::id_index::Ids;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::lock::FileLock;
use crate::store::sqlite::maintenance::checkpointer::Checkpointer;
use crate::store::sqlite::maintenance::flush_requests::FlushRequests;
use crate::store::sqlite::maintenance::wal_preallocator::WalPreallocator;
use crate::store::sqlite::maintenance::{CommitSize, Maintenance};
use crate::store::sqlite::read::runs;
use crate::store::sqlite::read::view_flag::ViewFlag;
use crate::store::sqlite::recovery;
use crate::store::sqlite::recovery::RecoveredState;
use crate::store::sqlite::watch::FileWatch;
use crate::store::sqlite::{SqliteOptions, connect, log_row};
use crate::telemetry;

/// Estimated bytes in the write-ahead log of a commit, without the events, and of one slice of maintenance.
const COMMIT_BYTES: usize = 8 << 10;
const SLICE_BYTES: usize = 512 << 10;

/// Rows of one INSERT: five variables each, of the 32,766 that SQLite allows in one statement.
const MAX_INSERT_ROWS: usize = 4_000;

/// The writer's connections and in-memory state. The state agrees with the file unless `stale` is set.
pub struct Writer {
    pub options: SqliteOptions,
    pub connect: SqliteConnectOptions,
    pub connection: SqliteConnection,
    /// Connection of maintenance, see [`connect::maintenance_options`].
    pub maintenance_connection: SqliteConnection,
    pub checkpoints: Checkpointer,
    pub growth: WalPreallocator,
    pub listener: Arc<dyn CommitListener>,
    pub tail: Arc<UnindexedTail>,
    pub ids: Arc<Ids>,
    pub maintenance: Maintenance,
    pub flush_requests: Arc<FlushRequests>,
    /// Set by a failed commit: the state must be read from the file before the next plan.
    pub stale: bool,
    pub watch: Arc<FileWatch>,
    pub watching: JoinHandle<()>,
    /// Held until the last commit is done, even if the store was dropped before: one process owns the file.
    pub _lock: Arc<FileLock>,
}

impl Writer {
    /// Commits a planned group and announces the commit. After an error nothing of the group is stored, except for
    /// `OutcomeUnknown`.
    pub async fn store(&mut self, planned: Planned) -> Result<Vec<Result<Appended>>> {
        let Planned { outcomes, writes } = planned;
        let Some(mut writes) = writes else {
            // A duplicate acknowledges a stored event too, so check the files.
            return self.watch.look_again().map(|()| outcomes);
        };
        self.watch.verdict()?;
        self.maintenance.unflushed.entries += writes.entries.len();
        // Added before the commit, so that a reader of the committed rows finds the events. Readers skip uncommitted
        // entries: these lie after the committed end of their run.
        self.tail.push(std::mem::take(&mut writes.entries));
        self.ids.extend(std::mem::take(&mut writes.ids));
        let began = Instant::now();
        if let Err(error) = self.write(&mut writes).await {
            self.stale = true;
            return Err(if matches!(error, Error::OutcomeUnknown) { error } else { self.cause(error) });
        }
        if self.watch.look_again().is_err() {
            self.stale = true;
            // The commit went to files that are lost, or that were lost just after the commit.
            return Err(Error::OutcomeUnknown);
        }
        committed(began.elapsed(), writes.events());
        self.announce(writes);
        Ok(outcomes)
    }

    /// Runs the transaction in one round trip to the connection's thread.
    async fn write(&mut self, writes: &mut Writes) -> Result<()> {
        let (run_rows, documents) = (writes.run_rows.take(), writes.documents.take());
        let sql = commit_sql(writes.rows.len(), run_rows.is_some(), documents.is_some());
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for row in &writes.rows {
            let (pos, count, flag) = (row.pos.cast_signed(), i64::from(row.count), ViewFlag::of(row.sensitive));
            let checksum = log_row::checksum(pos, count, flag, &row.data);
            query = query.bind(pos).bind(count).bind(flag).bind(row.data.to_vec()).bind(checksum);
        }
        // Upsert and delete of documents take the same parameter.
        for json in run_rows.into_iter().chain(documents.clone()).chain(documents) {
            query = query.bind(json);
        }
        failpoint!("sqlite-commit-before", of_commit);
        query.execute(&mut self.connection).await.map_err(of_commit)?;
        failpoint!("sqlite-commit-after", of_commit);
        Ok(())
    }

    /// Updates the unindexed tail, then announces the commit.
    fn announce(&mut self, writes: Writes) {
        let bytes: usize = writes.rows.iter().map(|row| row.data.len()).sum();
        self.maintenance.unflushed.bytes += bytes;
        self.checkpoints.written(bytes + COMMIT_BYTES);
        self.growth.written(bytes + COMMIT_BYTES);
        self.tail.committed(writes.ends, last_positions(&writes.commits));
        for commit in writes.commits {
            self.listener.committed(commit);
        }
    }

    /// Runs maintenance after a commit: the slices due for a commit of this size, all overdue slices, and further slices
    /// while the commit queue is empty. A failed slice is retried after a later commit; events and in-memory state are
    /// unaffected.
    pub async fn run_maintenance(&mut self, commit: CommitSize, is_idle: impl Fn() -> bool) {
        if self.watch.verdict().is_err() {
            return;
        }
        self.slices(commit, is_idle).await;
        self.growth.keep_ahead().await;
        self.checkpoints.bound(&mut self.maintenance_connection).await;
    }

    async fn slices(&mut self, commit: CommitSize, is_idle: impl Fn() -> bool) {
        self.maintenance.is_flush_wanted |= self.flush_requests.take();
        let mut share = self.maintenance.share(commit);
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

    /// Error for all appends at present: lost files, or an unindexed tail at its limit.
    pub fn refusal(&self) -> Option<Error> {
        self.watch.verdict().err().or_else(|| self.maintenance.refusal(&self.ids))
    }

    /// Root cause of an error: lost files make SQLite report all kinds of damage.
    pub fn cause(&self, error: Error) -> Error {
        self.watch.look().err().unwrap_or(error)
    }

    /// After a failed commit: rolls back an open transaction and brings the in-memory state back to the state of the
    /// file. Returns an empty run state cache.
    pub async fn refresh(&mut self) -> Result<RunStateCache> {
        // A new connection would create new files in place of lost files.
        self.watch.verdict()?;
        // Fails if SQLite has already ended the transaction.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        if self.connection.ping().await.is_err() {
            self.connection = SqliteConnection::connect_with(&self.connect).await.map_err(from_sqlx)?;
        }
        self.reconnect_maintenance().await.map_err(from_sqlx)?;
        failpoint!("sqlite-refresh-before", from_sqlx);
        let (last_runs, last_positions) = recovery::ends(&mut self.connection).await?;
        let run_states = if last_positions == self.tail.last_positions() {
            // The commit did not happen, and all earlier commits are in memory.
            self.maintenance.unflushed.entries -= self.tail.retract();
            self.ids.retract(&self.tail);
            RunStateCache::new(last_runs)
        } else {
            telemetry::SQLITE_LOG_REREADS.add(1);
            let memory = RecoveredState::load(&mut self.connection).await?;
            let run_states;
            (run_states, self.maintenance) = memory.install(&self.tail, &self.ids, &self.options);
            run_states
        };
        failpoint!("sqlite-refresh-after", from_sqlx);
        self.stale = false;
        Ok(run_states)
    }

    /// Opens a new connection if the connection's thread has ended.
    async fn reconnect_maintenance(&mut self) -> sqlx::Result<()> {
        if self.maintenance_connection.ping().await.is_err() {
            self.maintenance_connection =
                SqliteConnection::connect_with(&connect::maintenance_options(&self.connect)).await?;
        }
        Ok(())
    }

    /// Stops the watch and the checkpointer, and closes both connections.
    pub async fn close(self) {
        self.watch.end();
        self.watching.abort();
        let _ = self.watching.await;
        self.checkpoints.stop().await;
        // Closing the last connection checkpoints the write-ahead log.
        let closed = self.maintenance_connection.close().await;
        if let Err(error) = closed.and(self.connection.close().await) {
            tracing::warn!(%error, "closing the database failed; it is recovered at the next start");
        }
    }
}

/// SQL of a commit with this many log rows. One INSERT takes all rows, unless the rows exceed [`MAX_INSERT_ROWS`]: the
/// connection caches the last 100 prepared texts, which are a few statements each.
///
/// Most commits change no run's row and are a single statement, which is a transaction by itself: each further
/// statement costs a wake-up of the committer.
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
