//! One try to commit a group, on the connection of the replica's one writer.
//!
//! The short way is one statement, planned for the runs as they were last committed here. Where they are not so any more,
//! or an id is there already, it changes nothing, and the long way is taken: lock, read, plan, write.
//!
//! A commit that was sent and not answered is in doubt. Nothing else is planned for its group until that is settled: the next
//! try locks its runs and looks. Where it took place, that is the outcome. Where it did not and its runs are as it expects
//! them, the same is written again; a copy of it that arrives later finds them changed. Where they are not, it never took
//! place and never will, and the group is planned anew.

mod fast_path;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::domain::projection::Lifecycle;
use crate::domain::{Result, Run, RunId};
use crate::store::commit::plan;
use crate::store::commit::plan::{ExistingEvents, Plan, PlannedRun, RunState};
use crate::store::{Append, Commit};

use super::existing;
use super::planned::{Outcomes, Planned};
use super::run_state::RunStateCache;
use super::transaction;
use crate::store::postgres::PostgresOptions;
use crate::store::postgres::connect::session::Session;
use crate::store::postgres::epochs::Epochs;
use crate::store::postgres::error::Fault;

/// A group that is over: its outcomes, and what to tell if anything is new.
pub type Done = (Outcomes, Option<Commit>);

/// Why a try did not end well.
#[derive(Debug)]
pub enum Failed {
    /// There is no connection; nothing was sent.
    Unreachable(Fault),
    /// Nothing of this try was stored.
    Before(Fault),
    /// It was sent and not answered.
    Unknown(Fault),
}

impl Failed {
    /// What happened.
    pub fn fault(&self) -> &Fault {
        let (Self::Unreachable(fault) | Self::Before(fault) | Self::Unknown(fault)) = self;
        fault
    }

    /// The same, owned.
    pub fn into_fault(self) -> Fault {
        let (Self::Unreachable(fault) | Self::Before(fault) | Self::Unknown(fault)) = self;
        fault
    }

    /// Whether the server is away, so that others need not wait for it as well.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_)) || matches!(self.fault(), Fault::Timeout)
    }
}

/// The connection, and what is known without asking.
pub struct Writer {
    options: PostgresOptions,
    connect: PgConnectOptions,
    session: Arc<Session>,
    epochs: Arc<Epochs>,
    connection: Option<PgConnection>,
    run_states: RunStateCache,
    /// Groups that take the long way at once, and how many did so the last time. Where two replicas write to the same
    /// runs in turn, the short way would mostly be taken for nothing.
    detour: (u32, u32),
}

impl Writer {
    /// On this connection as long as it holds, then on new ones.
    pub fn new(
        options: PostgresOptions,
        connect: PgConnectOptions,
        (session, epochs): (Arc<Session>, Arc<Epochs>),
        connection: PgConnection,
    ) -> Self {
        Self {
            options,
            connect,
            session,
            epochs,
            connection: Some(connection),
            run_states: RunStateCache::default(),
            detour: (0, 0),
        }
    }

    /// Of the history that commits belong to.
    pub fn generation(&self) -> u64 {
        self.epochs.current.generation()
    }

    /// Commits these appends, or finds out that the commit `in_doubt`, of a try before it, took place. `left` bounds the wait
    /// for a connection further.
    pub async fn attempt(
        &mut self,
        appends: &[Append],
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

    /// Ends the transaction that has written `planned`; without it, the commit in doubt.
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
                // The retry_policy before it are in doubt all the same.
                if is_first {
                    *in_doubt = None;
                }
                Err(Failed::Before(fault))
            }
            Err(fault) => Err(Failed::Unknown(fault)),
        }
    }

    /// All of a transaction but its end.
    async fn prepare(&mut self, appends: &[Append], in_doubt: &mut Option<Planned>) -> Result<Prepared, Fault> {
        let session = Arc::clone(&self.session);
        let now = plan::now();
        let connection = self.connection.as_mut().ok_or(Fault::Timeout)?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(session.begin.clone())).execute(&mut *connection).await?;
        let mut link = session.link(connection);
        let run_ids: Vec<&RunId> = appends.iter().map(|append| &append.run_id).collect();
        let run_states = transaction::run_states(&mut link, &run_ids, now).await?;
        failpoint!("postgres-transaction-inside", Fault::from);
        if let Some(planned) = in_doubt {
            failpoint!("postgres-doubt-before", Fault::from);
            let last = transaction::last_position(&mut link, &planned.runs).await?;
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
            let head = |run_id: &RunId| planned.before.get(run_id);
            let last = transaction::append(&mut link, &planned.runs, columns, head, session.notify_identity()).await?;
            return Ok(Prepared::Written(None, last.ok_or(Fault::Conflict)?));
        }
        let known = existing::load(&mut link, &run_states, appends).await?;
        let head = |run_id: &RunId| run_states.get(run_id).cloned();
        let (outcomes, runs) = plan_group(self.options.lifecycle, head, &known, appends, now);
        if runs.is_empty() {
            return Ok(Prepared::Over((outcomes, None)));
        }
        let (commit, columns) = Planned::encode(&runs);
        let head = |run_id: &RunId| run_states.get(run_id);
        let last = transaction::append(&mut link, &runs, columns, head, session.notify_identity())
            .await?
            .ok_or(Fault::Conflict)?;
        Ok(Prepared::Written(Some(Planned { outcomes, runs, commit, before: run_states }), last))
    }

    /// What was planned is stored, its last event at this position.
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

    /// A transaction that has nothing to commit.
    async fn roll_back(&mut self, limit: Duration) {
        if !matches!(timeout(limit, self.end("ROLLBACK")).await, Ok(Ok(()))) {
            self.disconnect();
        }
    }

    /// After a failure: the connection is given up, unless it can be rolled back.
    pub async fn recover(&mut self, failed: &Failed) {
        match failed {
            Failed::Before(fault) if fault.leaves_connection() => self.roll_back(self.options.connect_timeout).await,
            _ => self.disconnect(),
        }
    }

    /// The next connection may lead to another server, or to a database that went back in time.
    fn disconnect(&mut self) {
        self.connection = None;
        self.run_states.forget();
    }

    /// Says good-bye; the server notices by itself otherwise.
    pub async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = timeout(self.options.connect_timeout, connection.close()).await;
        }
    }
}

/// A transaction before its end.
enum Prepared {
    /// There is nothing to commit.
    Over(Done),
    /// The commit in doubt took place, its last event at this position.
    Found(Planned, u64),
    /// Written, the last event at this position; `None`: the commit in doubt, again.
    Written(Option<Planned>, u64),
}

fn plan_group(
    lifecycle: Lifecycle,
    head: impl Fn(&RunId) -> Option<RunState>,
    known: &ExistingEvents,
    appends: &[Append],
    now: Timestamp,
) -> (Outcomes, Vec<PlannedRun>) {
    let head =
        |run_id: &RunId| head(run_id).unwrap_or_else(|| RunState { number: 0, run: Run::new(run_id.clone(), now) });
    let mut plan = Plan::new(head, known, lifecycle, now);
    let outcomes = appends.iter().map(|append| plan.add(append.clone())).collect();
    (outcomes, plan.finish())
}
