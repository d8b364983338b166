//! The replica's one writer. It takes all that waits, commits it in one transaction, and only then tells of it and
//! answers. It is a task of its own: a client that goes away cannot stop a commit half-way.
//!
//! What fails before COMMIT is sent has stored nothing and is tried again. Where the outcome of COMMIT is not known, the
//! log is asked; what cannot be found out in time is answered with `StoreUnavailable`.

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, timeout};

use crate::domain::event::Appended;
use crate::domain::{Error, Result, Run, RunId};
use crate::store::plan::{self, Head, Plan};
use crate::store::queue::{Group, Waiting};
use crate::store::{Append, Commit};

use super::error::Fault;
use super::event_row::EventColumns;
use super::follower::Teller;
use super::session::Session;
use super::transaction::{self, Proof};
use super::tries::Tries;
use super::{PostgresOptions, known};

/// The writer's state.
pub struct Committer {
    pub options: PostgresOptions,
    pub connect: PgConnectOptions,
    pub session: Arc<Session>,
    pub connection: Option<PgConnection>,
    pub teller: Teller,
    /// Since when nothing could be committed: a long outage is waited out once, not by each group anew.
    pub failing_since: Option<Instant>,
}

/// What became of a group.
type Outcomes = Vec<Result<Appended>>;

/// How a try ended that did not end well.
enum Failed {
    /// Nothing was stored.
    Before(Fault),
    /// COMMIT was sent and not answered. If it took place, this is what it was.
    Unknown(Fault, Box<(Proof, Outcomes, Commit)>),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Before(fault)
    }
}

impl Committer {
    /// Runs until the queue is closed and all that was accepted before is answered.
    pub async fn run(mut self, mut queue: Waiting) {
        while let Some(group) = queue.next().await {
            // A store that closes while the database is away does not wait for it once for each group.
            if queue.is_closing() && self.has_given_up() {
                let outcomes = group.appends.iter().map(|_| Err(Error::StoreUnavailable)).collect();
                group.replies.answer(outcomes);
            } else {
                self.serve(group).await;
            }
        }
        if let Some(connection) = self.connection.take() {
            // The server notices by itself otherwise.
            let _ = timeout(self.options.connect_timeout, connection.close()).await;
        }
    }

    /// Whether the database has been away for longer than anything is tried again.
    fn has_given_up(&self) -> bool {
        self.failing_since.is_some_and(|since| since.elapsed() >= self.options.retry)
    }

    async fn serve(&mut self, group: Group) {
        let (outcomes, commit) = self.commit(&group.appends).await;
        if let Some(commit) = commit {
            self.teller.tell(commit).await;
        }
        group.replies.answer(outcomes);
    }

    async fn commit(&mut self, appends: &[Append]) -> (Outcomes, Option<Commit>) {
        let fault = match self.commit_together(appends).await {
            Ok(done) => return done,
            Err(fault) => fault,
        };
        // What the server refuses belongs to one of them; the others must not suffer for it. Of an import nothing may be
        // stored that comes after it.
        if appends.len() > 1 && !fault.is_passing() && appends.iter().all(|append| append.import().is_none()) {
            let mut outcomes = Vec::with_capacity(appends.len());
            for append in appends {
                let (outcome, commit) = match self.commit_together(std::slice::from_ref(append)).await {
                    Ok(done) => done,
                    Err(fault) => (vec![Err(fault.into_error())], None),
                };
                outcomes.extend(outcome);
                if let Some(commit) = commit {
                    self.teller.tell(commit).await;
                }
            }
            return (outcomes, None);
        }
        (vec![Err(fault.into_error()); appends.len()], None)
    }

    /// Tries until it is done, refused, or the time is over.
    async fn commit_together(&mut self, appends: &[Append]) -> Result<(Outcomes, Option<Commit>), Fault> {
        let since = self.failing_since.unwrap_or_else(Instant::now);
        let mut tries = Tries::until(since + self.options.retry);
        loop {
            let fault = match self.attempt(appends).await {
                Ok(done) => {
                    self.failing_since = None;
                    return Ok(done);
                }
                Err(Failed::Before(fault)) => fault,
                Err(Failed::Unknown(fault, stored)) => {
                    tracing::warn!(?fault, "the outcome of a COMMIT is not known; the log is asked");
                    let (proof, outcomes, commit) = *stored;
                    if self.took_place(&proof).await? {
                        self.failing_since = None;
                        return Ok((outcomes, Some(commit)));
                    }
                    fault
                }
            };
            self.drop_connection_after(&fault).await;
            if fault.is_passing() {
                self.failing_since.get_or_insert(since);
            }
            if !tries.again(&fault).await {
                return Err(fault);
            }
        }
    }

    /// Asks until there is an answer or the time is over.
    async fn took_place(&mut self, proof: &Proof) -> Result<bool, Fault> {
        self.connection = None;
        let mut tries = Tries::until(Instant::now() + self.options.retry);
        loop {
            let limit = self.options.patience();
            let asked = async {
                let session = Arc::clone(&self.session);
                proof.holds(self.connection().await?, &session.begin).await
            };
            let fault = match timeout(limit, asked).await.unwrap_or(Err(Fault::Silence)) {
                Ok(holds) => return Ok(holds),
                Err(fault) => fault,
            };
            self.connection = None;
            if !tries.again(&fault).await {
                // Neither a yes nor a no: nobody may take it for "nothing was stored".
                return Err(Fault::Answer(Error::StoreUnavailable));
            }
        }
    }

    /// One transaction.
    async fn attempt(&mut self, appends: &[Append]) -> Result<(Outcomes, Option<Commit>), Failed> {
        let limit = self.options.patience();
        let prepared = timeout(limit, self.prepare(appends)).await.unwrap_or(Err(Fault::Silence))?;
        let Some((proof, outcomes, commit)) = prepared.stored else {
            let ended = timeout(limit, self.end("ROLLBACK")).await.unwrap_or(Err(Fault::Silence));
            if ended.is_err() {
                self.connection = None;
            }
            return Ok((prepared.refused, None));
        };
        match timeout(limit, self.end("COMMIT")).await.unwrap_or(Err(Fault::Silence)) {
            Ok(()) => Ok((outcomes, Some(commit))),
            Err(fault) => Err(Failed::Unknown(fault, Box::new((proof, outcomes, commit)))),
        }
    }

    async fn end(&mut self, sql: &'static str) -> Result<(), Fault> {
        if let Some(connection) = &mut self.connection {
            sqlx::raw_sql(sql).execute(connection).await?;
        }
        Ok(())
    }

    /// All of the transaction but its end.
    async fn prepare(&mut self, appends: &[Append]) -> Result<Prepared, Fault> {
        let (session, lifecycle) = (Arc::clone(&self.session), self.options.lifecycle);
        let now = plan::now();
        let connection = self.connection().await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(session.begin.clone())).execute(&mut *connection).await?;
        let run_ids: Vec<&RunId> = appends.iter().map(|append| &append.run_id).collect();
        let heads = transaction::heads(connection, &run_ids, now).await?;
        let known = known::load(connection, &heads, appends).await?;
        let (outcomes, runs) = {
            let head = |run_id: &RunId| match heads.get(run_id) {
                Some(head) => head.clone(),
                None => Head { number: 0, run: Run::new(run_id.clone(), now) },
            };
            let mut plan = Plan::new(head, &known, lifecycle, now);
            let outcomes: Outcomes = appends.iter().map(|append| plan.add(append.clone())).collect();
            (outcomes, plan.finish())
        };
        if runs.is_empty() {
            return Ok(Prepared { refused: outcomes, stored: None });
        }
        let (columns, laid) = EventColumns::of(&runs);
        let tell = session.notify.as_ref().map(|names| (names.channel.as_str(), names.teller.as_str()));
        let before = transaction::write(connection, &runs, columns, tell).await?;
        let mut commit = plan::announcement(&laid, &runs);
        for chunk in &mut commit.feed {
            chunk.first += before;
        }
        commit.feed_tip.last += before;
        let proof = Proof::of(&runs, commit.feed_tip.last).ok_or(Error::Internal)?;
        Ok(Prepared { refused: Vec::new(), stored: Some((proof, outcomes, commit)) })
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
    async fn drop_connection_after(&mut self, fault: &Fault) {
        let kept = fault.leaves_connection()
            && matches!(timeout(self.options.connect_timeout, self.end("ROLLBACK")).await, Ok(Ok(())));
        if !kept {
            self.connection = None;
        }
    }
}

/// A transaction before its end.
struct Prepared {
    /// The outcomes where nothing is stored.
    refused: Outcomes,
    stored: Option<(Proof, Outcomes, Commit)>,
}
