//! One try to commit a group, on the connection of the replica's one writer.
//!
//! The short way is one statement, planned for the runs as they were last committed here. Where they are not so any more,
//! or an id is there already, it changes nothing, and the long way is taken: lock, read, plan, write.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::domain::event::Appended;
use crate::domain::{Result, Run, RunId};
use crate::store::plan::{self, Head, Known, Plan, PlannedRun};
use crate::store::{Append, Commit, ids};

use super::error::Fault;
use super::event_row::EventColumns;
use super::heads::Heads;
use super::session::Session;
use super::transaction;
use super::{PostgresOptions, known};

/// What became of a group.
pub type Outcomes = Vec<Result<Appended>>;

/// A group that is over: its outcomes, and what to tell if anything is new.
pub type Done = (Outcomes, Option<Commit>);

/// Why a try did not end well.
pub enum Failed {
    /// Nothing was stored.
    Before(Fault),
    /// It was sent and not answered. If it took place, this is what it was.
    Unknown(Fault, Box<Planned>),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Before(fault)
    }
}

/// What a try stores.
pub struct Planned {
    outcomes: Outcomes,
    runs: Vec<PlannedRun>,
    /// What to tell of it, as if it were the first commit of the feed.
    commit: Commit,
}

/// The connection, and what is known without asking.
pub struct Writer {
    options: PostgresOptions,
    connect: PgConnectOptions,
    session: Arc<Session>,
    connection: Option<PgConnection>,
    heads: Heads,
    /// Groups that take the long way at once, and how many did so the last time. Where two replicas write to the same
    /// runs in turn, the short way would mostly be taken for nothing.
    detour: (u32, u32),
}

/// Most groups in a row that do not try the short way.
const LONGEST_DETOUR: u32 = 32;

impl Writer {
    /// On this connection as long as it holds, then on new ones.
    pub fn new(
        options: PostgresOptions,
        connect: PgConnectOptions,
        session: Arc<Session>,
        connection: PgConnection,
    ) -> Self {
        Self { options, connect, session, connection: Some(connection), heads: Heads::default(), detour: (0, 0) }
    }

    /// Commits these appends, or finds out that one of the tries before it, in `doubts`, took place.
    pub async fn attempt(&mut self, appends: &[Append], doubts: &mut Vec<Planned>) -> Result<Done, Failed> {
        // A doubt is settled under locks.
        if doubts.is_empty()
            && let Some((outcomes, runs)) = self.plan_short(appends)
        {
            match self.write_short(outcomes, runs).await? {
                Some(done) => {
                    self.detour = (0, 0);
                    return Ok(done);
                }
                None => {
                    let length = (self.detour.1 * 2).clamp(1, LONGEST_DETOUR);
                    self.detour = (length, length);
                }
            }
        }
        let limit = self.options.patience();
        let prepared = timeout(limit, self.prepare(appends, doubts)).await.unwrap_or(Err(Fault::Silence))?;
        match prepared {
            Prepared::Over(done) => {
                let ended = timeout(limit, self.end("ROLLBACK")).await.unwrap_or(Err(Fault::Silence));
                if ended.is_err() {
                    self.disconnect();
                }
                Ok(done)
            }
            Prepared::Written(planned, last) => {
                match timeout(limit, self.end("COMMIT")).await.unwrap_or(Err(Fault::Silence)) {
                    Ok(()) => Ok(self.stored(planned, last)),
                    Err(fault) => Err(Failed::Unknown(fault, Box::new(planned))),
                }
            }
        }
    }

    /// For the short way, where it may do.
    fn plan_short(&mut self, appends: &[Append]) -> Option<(Outcomes, Vec<PlannedRun>)> {
        // One statement has no transaction around it that would make the settings.
        if !self.session.is_kept() {
            return None;
        }
        if self.detour.0 > 0 {
            self.detour.0 -= 1;
            return None;
        }
        self.connection.as_ref()?;
        for append in appends {
            // Planning an import may end it, so it is planned only for what is so.
            if append.import().is_some() {
                return None;
            }
            let number = self.heads.get(&append.run_id)?.number;
            let mut event_ids = append.events.iter().filter_map(|event| event.event_id.as_ref());
            // No index refuses an id that the store itself gave.
            if event_ids.any(|event_id| ids::assigned_seq(number, event_id).is_some()) {
                return None;
            }
        }
        let head = |run_id: &RunId| self.heads.get(run_id).cloned();
        let (outcomes, runs) = self.plan(head, &Known::default(), appends, plan::now());
        // The run may be another by now, so a no is not final.
        if outcomes.iter().any(Result::is_err) {
            return None;
        }
        Some((outcomes, runs))
    }

    /// `None`: it would not do, and nothing is changed.
    async fn write_short(&mut self, outcomes: Outcomes, runs: Vec<PlannedRun>) -> Result<Option<Done>, Failed> {
        let limit = self.options.patience();
        let Some(connection) = self.connection.as_mut().filter(|_| !runs.is_empty()) else { return Ok(None) };
        let (columns, laid) = EventColumns::of(&runs);
        let commit = plan::announcement(&laid, &runs);
        let head = |run_id: &RunId| self.heads.get(run_id);
        let mut link = self.session.link(connection);
        let sent = transaction::append(&mut link, &runs, columns, head, self.session.tell());
        let sent = timeout(limit, sent).await.unwrap_or(Err(Fault::Silence));
        let planned = Planned { outcomes, runs, commit };
        match sent {
            Ok(Some(last)) => Ok(Some(self.stored(planned, last))),
            Ok(None) => Ok(None),
            // The statement is the whole transaction: its error undoes it.
            Err(fault) if fault.leaves_connection() => Err(Failed::Before(fault)),
            Err(fault) => Err(Failed::Unknown(fault, Box::new(planned))),
        }
    }

    /// All of a transaction but its end.
    async fn prepare(&mut self, appends: &[Append], doubts: &mut Vec<Planned>) -> Result<Prepared, Fault> {
        let session = Arc::clone(&self.session);
        let now = plan::now();
        let connection = self.connection().await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(session.begin.clone())).execute(&mut *connection).await?;
        let mut link = session.link(connection);
        let run_ids: Vec<&RunId> = appends.iter().map(|append| &append.run_id).collect();
        let heads = transaction::heads(&mut link, &run_ids, now).await?;
        for index in 0..doubts.len() {
            if let Some(last) = transaction::last_position(&mut link, &doubts[index].runs).await? {
                return Ok(Prepared::Over(self.stored(doubts.swap_remove(index), last)));
            }
        }
        let known = known::load(&mut link, &heads, appends).await?;
        let (outcomes, runs) = self.plan(|run_id| heads.get(run_id).cloned(), &known, appends, now);
        if runs.is_empty() {
            return Ok(Prepared::Over((outcomes, None)));
        }
        let (columns, laid) = EventColumns::of(&runs);
        let commit = plan::announcement(&laid, &runs);
        let head = |run_id: &RunId| heads.get(run_id);
        let mut link = session.link(self.connection().await?);
        let last = transaction::append(&mut link, &runs, columns, head, session.tell()).await?.ok_or(Fault::Race)?;
        Ok(Prepared::Written(Planned { outcomes, runs, commit }, last))
    }

    fn plan(
        &self,
        head: impl Fn(&RunId) -> Option<Head>,
        known: &Known,
        appends: &[Append],
        now: Timestamp,
    ) -> (Outcomes, Vec<PlannedRun>) {
        let head =
            |run_id: &RunId| head(run_id).unwrap_or_else(|| Head { number: 0, run: Run::new(run_id.clone(), now) });
        let mut plan = Plan::new(head, known, self.options.lifecycle, now);
        let outcomes = appends.iter().map(|append| plan.add(append.clone())).collect();
        (outcomes, plan.finish())
    }

    /// What was planned is stored, its last event at this position.
    fn stored(&mut self, planned: Planned, last: u64) -> Done {
        let Planned { outcomes, runs, mut commit } = planned;
        let before = last - commit.feed_tip.last;
        for chunk in &mut commit.feed {
            chunk.first += before;
        }
        commit.feed_tip.last = last;
        self.heads.commit(runs.into_iter().map(|planned| planned.head));
        (outcomes, Some(commit))
    }

    async fn end(&mut self, sql: &'static str) -> Result<(), Fault> {
        if let Some(connection) = &mut self.connection {
            sqlx::raw_sql(sql).execute(connection).await?;
        }
        Ok(())
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, Fault> {
        if self.connection.is_none() {
            let opened = self.session.open(&self.connect);
            let opened = timeout(self.options.connect_timeout, opened).await.map_err(|_| Fault::Silence)??;
            self.connection = Some(opened);
        }
        self.connection.as_mut().ok_or(Fault::Silence)
    }

    /// After a failure: the connection is given up, unless it can be rolled back.
    pub async fn recover(&mut self, fault: &Fault) {
        let kept = fault.leaves_connection()
            && matches!(timeout(self.options.connect_timeout, self.end("ROLLBACK")).await, Ok(Ok(())));
        if !kept {
            self.disconnect();
        }
    }

    /// The next connection may lead to another server, or to a database that went back in time.
    fn disconnect(&mut self) {
        self.connection = None;
        self.heads.forget();
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
    /// Written, the last event at this position.
    Written(Planned, u64),
}
