//! One attempt to commit a group, on the writer's connection of the replica.
//!
//! The fast path is one statement, planned from the run state cache. If a cached state is stale, or an event id exists
//! already, the statement changes no row, and the slow path follows: lock, read, plan, write.
//!
//! A commit that was sent but not answered is in doubt. Until the doubt is resolved, no other commit is planned for the
//! group: the next attempt locks the runs and looks for the commit. If found, the commit is the outcome. If not found
//! and the runs are unchanged, the same commit is sent again; a delayed copy of the first one will find the runs
//! changed. If the runs have changed, the in-doubt commit never took effect and never will, and the group is planned
//! again.

mod fast_path;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::store::commit::plan;
use crate::store::commit::queue::QueuedAppend;
use crate::store::{Commit, ProjectNumber, RunKey};

use super::existing;
use super::in_doubt;
use super::planned::{Outcomes, Planned, plan_group};
use super::run_state::RunStateCache;
use super::transaction;
use crate::store::postgres::connect::session::Session;
use crate::store::postgres::epochs::Epochs;
use crate::store::postgres::error::Fault;
use crate::store::postgres::options::PostgresOptions;

/// Outcomes of a finished group, and the announcement if any event is new.
pub type Done = (Outcomes, Option<Commit>);

/// Failure of an attempt.
#[derive(Debug)]
pub enum Failed {
    /// No connection; no statement was sent.
    Unreachable(Fault),
    /// The attempt has stored no event.
    Before(Fault),
    /// The commit was sent but not answered.
    Unknown(Fault),
}

impl Failed {
    /// The cause.
    pub fn fault(&self) -> &Fault {
        let (Self::Unreachable(fault) | Self::Before(fault) | Self::Unknown(fault)) = self;
        fault
    }

    /// The cause, owned.
    pub fn into_fault(self) -> Fault {
        let (Self::Unreachable(fault) | Self::Before(fault) | Self::Unknown(fault)) = self;
        fault
    }

    /// Whether the server is unreachable, so that queued appends need not wait as well.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_)) || matches!(self.fault(), Fault::Timeout)
    }
}

/// The writer's connection and run state cache.
pub struct Writer {
    options: PostgresOptions,
    connect: PgConnectOptions,
    session: Arc<Session>,
    epochs: Arc<Epochs>,
    connection: Option<PgConnection>,
    run_states: RunStateCache,
    fast_path_backoff: FastPathBackoff,
}

/// Backoff of the fast path. With two replicas writing to the same runs in turn, most fast-path attempts would fail.
#[derive(Default)]
struct FastPathBackoff {
    /// Remaining groups that skip the fast path.
    remaining: u32,
    /// Length of the backoff in groups.
    length: u32,
}

impl Writer {
    /// Starts with this connection; opens new connections after failures.
    pub fn new(
        options: PostgresOptions,
        connect: PgConnectOptions,
        session: Arc<Session>,
        epochs: Arc<Epochs>,
        connection: PgConnection,
    ) -> Self {
        Self {
            options,
            connect,
            session,
            epochs,
            connection: Some(connection),
            run_states: RunStateCache::default(),
            fast_path_backoff: FastPathBackoff::default(),
        }
    }

    /// Generation of the history that new commits belong to.
    pub fn generation(&self) -> u64 {
        self.epochs.current.generation()
    }

    /// Commits the appends to one project, or finds that the in-doubt commit of an earlier attempt took place. `left` additionally
    /// limits the wait for a connection.
    pub async fn attempt(
        &mut self,
        appends: &[QueuedAppend],
        in_doubt: &mut Option<Planned>,
        left: Option<Duration>,
    ) -> Result<Done, Failed> {
        self.connect(left).await.map_err(Failed::Unreachable)?;
        if in_doubt.is_none()
            && let Some(done) = self.fast_path(appends, in_doubt).await?
        {
            return Ok(done);
        }
        let limit = self.options.statement_deadline();
        let prepared = timeout(limit, self.prepare(appends, in_doubt)).await.unwrap_or(Err(Fault::Timeout));
        match prepared.map_err(Failed::Before)? {
            Prepared::Over(done) => {
                self.roll_back(limit).await;
                Ok(done)
            }
            Prepared::Found(planned, last) => {
                self.roll_back(limit).await;
                Ok(self.stored(planned, last))
            }
            Prepared::Written(planned, last) => self.commit(planned, last, in_doubt).await,
        }
    }

    /// Commits the transaction that has written `planned`; `None`: the transaction has written the in-doubt commit
    /// again.
    async fn commit(
        &mut self,
        planned: Option<Planned>,
        last: u64,
        in_doubt: &mut Option<Planned>,
    ) -> Result<Done, Failed> {
        let is_first = planned.is_some();
        if is_first {
            *in_doubt = planned;
        }
        match timeout(self.options.statement_deadline(), self.end("COMMIT")).await.unwrap_or(Err(Fault::Timeout)) {
            Ok(()) => match in_doubt.take() {
                Some(planned) => Ok(self.stored(planned, last)),
                None => unreachable!("what is committed was planned"),
            },
            Err(fault) if fault.is_refusal() => {
                // A rejection of this attempt leaves the earlier attempts in doubt.
                if is_first {
                    *in_doubt = None;
                }
                Err(Failed::Before(fault))
            }
            Err(fault) => Err(Failed::Unknown(fault)),
        }
    }

    /// Runs the slow path up to, not including, the end of the transaction.
    async fn prepare(&mut self, appends: &[QueuedAppend], in_doubt: &mut Option<Planned>) -> Result<Prepared, Fault> {
        let session = Arc::clone(&self.session);
        let now = plan::now();
        let connection = self.connection.as_mut().ok_or(Fault::Timeout)?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(session.begin.clone())).execute(&mut *connection).await?;
        let mut executor = session.executor(connection);
        let keys: Vec<&RunKey> = appends.iter().map(|append| &append.run).collect();
        let project = keys.first().map_or(ProjectNumber::DEFAULT, |key| key.project);
        let run_states = transaction::run_states(&mut executor, project, &keys, now).await?;
        failpoint!("postgres-transaction-inside", Fault::from);
        if let Some(planned) = in_doubt {
            failpoint!("postgres-doubt-before", Fault::from);
            let last = in_doubt::last_position(&mut executor, &planned.runs).await?;
            failpoint!("postgres-doubt-after", Fault::from);
            if let (Some(last), Some(planned)) = (last, in_doubt.take_if(|_| last.is_some())) {
                return Ok(Prepared::Found(planned, last));
            }
        }
        if let Some(planned) = in_doubt.take_if(|planned| !planned.can_take_place(&run_states)) {
            tracing::info!(runs = planned.runs.len(), "a commit in doubt did not take place: others were first");
        }
        if let Some(planned) = in_doubt {
            let (_, columns) = Planned::encode(&planned.runs);
            let head = |run: &RunKey| planned.before.get(run);
            let last =
                transaction::append(&mut executor, &planned.runs, columns, head, session.notify_identity()).await?;
            return Ok(Prepared::Written(None, last.ok_or(Fault::Conflict)?));
        }
        let known = existing::load(&mut executor, &run_states, appends).await?;
        let head = |run: &RunKey| run_states.get(run).cloned();
        let (outcomes, runs) = plan_group(self.options.lifecycle, head, &known, appends, now);
        if runs.is_empty() {
            return Ok(Prepared::Over((outcomes, None)));
        }
        let (commit, columns) = Planned::encode(&runs);
        let head = |run: &RunKey| run_states.get(run);
        let last = transaction::append(&mut executor, &runs, columns, head, session.notify_identity())
            .await?
            .ok_or(Fault::Conflict)?;
        Ok(Prepared::Written(Some(Planned { outcomes, runs, commit, before: run_states }), last))
    }

    /// Updates the cache after a commit with its last event at position `last`, and moves the announcement to the final
    /// positions.
    fn stored(&mut self, planned: Planned, last: u64) -> Done {
        let Planned { outcomes, runs, mut commit, .. } = planned;
        let before = last - commit.feed_end.last;
        for chunk in &mut commit.feed {
            chunk.first += before;
        }
        commit.feed_end.last = last;
        self.run_states.commit(runs.into_iter().map(|planned| planned.head));
        (outcomes, Some(commit))
    }

    async fn end(&mut self, sql: &'static str) -> Result<(), Fault> {
        failpoint!("postgres-end-before", Fault::from);
        if let Some(connection) = &mut self.connection {
            sqlx::raw_sql(sql).execute(connection).await?;
        }
        failpoint!("postgres-end-after", Fault::from);
        Ok(())
    }

    async fn connect(&mut self, left: Option<Duration>) -> Result<(), Fault> {
        if self.connection.is_none() {
            let limit = self.options.connect_timeout;
            let limit = left.map_or(limit, |left| left.min(limit));
            let opened =
                timeout(limit, self.session.open(&self.connect, &self.epochs)).await.map_err(|_| Fault::Timeout)??;
            self.connection = Some(opened);
        }
        Ok(())
    }

    /// Rolls back; closes the connection on failure.
    async fn roll_back(&mut self, limit: Duration) {
        if !matches!(timeout(limit, self.end("ROLLBACK")).await, Ok(Ok(()))) {
            self.disconnect();
        }
    }

    /// Rolls back after a failed attempt if the connection is usable, otherwise closes the connection.
    pub async fn recover(&mut self, failed: &Failed) {
        match failed {
            Failed::Before(fault) if fault.leaves_connection() => self.roll_back(self.options.connect_timeout).await,
            _ => self.disconnect(),
        }
    }

    /// Drops the connection and the cache: the next connection may lead to a different server, or to a database that
    /// went back in time.
    fn disconnect(&mut self) {
        self.connection = None;
        self.run_states.forget();
    }

    /// Closes the connection gracefully, within the connect timeout.
    pub async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = timeout(self.options.connect_timeout, connection.close()).await;
        }
    }
}

/// State of the slow path before the end of the transaction.
enum Prepared {
    /// No event is new.
    Over(Done),
    /// The in-doubt commit took place, with its last event at this position.
    Found(Planned, u64),
    /// Rows are written, the last event at this position. `None`: the in-doubt commit was written again.
    Written(Option<Planned>, u64),
}
