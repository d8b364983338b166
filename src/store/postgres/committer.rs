//! The replica's one writer. It takes all that waits, commits it in one transaction, and only then tells of it and
//! answers. It is a task of its own: a client that goes away cannot stop a commit half-way.
//!
//! What the server refused has stored nothing and is tried again. Where the outcome is not known, the next try looks
//! first, once it has the locks; what cannot be found out in time is answered with `StoreUnavailable`.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Error;
use crate::store::Append;
use crate::store::queue::{Group, Waiting};

use super::error::Fault;
use super::follower::Teller;
use super::tries::Tries;
use super::writer::{Done, Failed, Writer};

/// The writer's state.
pub struct Committer {
    pub writer: Writer,
    pub teller: Teller,
    /// How long what failed is tried again.
    pub retry: Duration,
    /// Since when nothing could be committed: a long outage is waited out once, not by each group anew.
    pub failing_since: Option<Instant>,
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
        self.writer.close().await;
    }

    /// Whether the database has been away for longer than anything is tried again.
    fn has_given_up(&self) -> bool {
        self.failing_since.is_some_and(|since| since.elapsed() >= self.retry)
    }

    async fn serve(&mut self, group: Group) {
        let (outcomes, commit) = self.commit(&group.appends).await;
        if let Some(commit) = commit {
            self.teller.tell(commit).await;
        }
        group.replies.answer(outcomes);
    }

    async fn commit(&mut self, appends: &[Append]) -> Done {
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
    async fn commit_together(&mut self, appends: &[Append]) -> Result<Done, Fault> {
        let since = self.failing_since.unwrap_or_else(Instant::now);
        let mut tries = Tries::until(since + self.retry);
        // Tries that may have taken place, or, where the way to the server is slow, may still do so.
        let mut doubts = Vec::new();
        loop {
            let fault = match self.writer.attempt(appends, &mut doubts).await {
                Ok(done) => {
                    self.failing_since = None;
                    return Ok(done);
                }
                Err(Failed::Before(fault)) => fault,
                Err(Failed::Unknown(fault, planned)) => {
                    tracing::warn!(?fault, "the outcome of a commit is not known; the next try looks first");
                    doubts.push(*planned);
                    fault
                }
            };
            self.writer.recover(&fault).await;
            if fault.is_passing() {
                self.failing_since.get_or_insert(since);
            }
            if !tries.again(&fault).await {
                // Neither a yes nor a no: nobody may take it for "nothing was stored".
                return Err(if doubts.is_empty() { fault } else { Fault::Answer(Error::StoreUnavailable) });
            }
        }
    }
}
