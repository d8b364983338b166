//! The replica's one writer. It takes all that waits, commits it in one transaction, and only then tells of it and
//! answers. It is a task of its own: a client that goes away cannot stop a commit half-way.
//!
//! What the server refused has stored nothing and is tried again. Where the outcome is not known, the next try looks
//! first, see `writer`; a group whose outcome cannot be learnt in time is answered with `OutcomeUnknown` as a whole. No part of
//! it is tried again then: it may still be on its way to the server.
//!
//! While the database is away, all that waits for it waits once: what comes meanwhile is answered together with the group
//! that waited.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Error;
use crate::store::Append;
use crate::store::commit::queue::{CommitQueueReceiver, Group};

use super::writer::{Done, Failed, Writer};
use crate::store::postgres::connect::retry::RetryPolicy;
use crate::store::postgres::error::Fault;
use crate::store::postgres::feed::follower::CommitAnnouncer;

/// The writer's state.
pub struct Committer {
    pub writer: Writer,
    pub announcer: CommitAnnouncer,
    /// How long what failed is tried again.
    pub retry: Duration,
    /// Since when nothing could be committed: a long outage is waited out once, not by each group anew.
    pub failing_since: Option<Instant>,
    /// The last group was given up since the server did not answer.
    pub is_away: bool,
}

/// Why a group was not committed.
enum Ended {
    /// The server refused what it was sent: nothing of it is stored.
    Refused(Fault),
    /// Nothing of it is stored, and none of it can be blamed.
    InVain(Fault),
    /// It may be stored, whole, or may still be.
    Unknown,
}

impl Ended {
    fn into_error(self) -> Error {
        match self {
            Self::Refused(fault) | Self::InVain(fault) => fault.into_error(),
            Self::Unknown => Error::OutcomeUnknown,
        }
    }
}

impl Committer {
    /// Runs until the queue is closed and all that was accepted before is answered.
    pub async fn run(mut self, mut queue: CommitQueueReceiver) {
        while let Some(group) = queue.next().await {
            // A store that closes while the database is away does not wait for it once for each group.
            if queue.is_closing() && self.has_given_up() {
                let outcomes = group.appends.iter().map(|_| Err(Error::StoreUnavailable)).collect();
                group.replies.answer(outcomes);
                continue;
            }
            self.serve(group).await;
            if self.is_away {
                queue.refuse(&Error::StoreUnavailable);
            }
        }
        self.writer.close().await;
    }

    /// Whether the database has been away for longer than anything is tried again.
    fn has_given_up(&self) -> bool {
        self.failing_since.is_some_and(|since| since.elapsed() >= self.retry)
    }

    async fn serve(&mut self, group: Group) {
        let generation = self.writer.generation();
        let (outcomes, commit) = self.commit(&group.appends).await;
        if let Some(commit) = commit {
            self.announcer.announce(generation, commit).await;
        }
        group.replies.answer(outcomes);
    }

    async fn commit(&mut self, appends: &[Append]) -> Done {
        match self.commit_together(appends).await {
            Ok(done) => done,
            // It belongs to one of them; the others must not suffer for it. Of an import nothing may be stored that comes
            // after it.
            Err(Ended::Refused(_)) if appends.len() > 1 && appends.iter().all(|append| append.import().is_none()) => {
                self.commit_each(appends).await
            }
            Err(ended) => (vec![Err(ended.into_error()); appends.len()], None),
        }
    }

    async fn commit_each(&mut self, appends: &[Append]) -> Done {
        let mut outcomes = Vec::with_capacity(appends.len());
        for append in appends {
            let generation = self.writer.generation();
            let ended = match self.commit_together(std::slice::from_ref(append)).await {
                Ok((outcome, commit)) => {
                    outcomes.extend(outcome);
                    if let Some(commit) = commit {
                        self.announcer.announce(generation, commit).await;
                    }
                    continue;
                }
                Err(ended) => ended,
            };
            let is_refused = matches!(ended, Ended::Refused(_));
            outcomes.push(Err(ended.into_error()));
            if !is_refused {
                // Those after it are not tried: they would wait for the same.
                outcomes.resize(appends.len(), Err(Error::StoreUnavailable));
                break;
            }
        }
        (outcomes, None)
    }

    /// RetryPolicy until it is done, refused, or the time is over.
    async fn commit_together(&mut self, appends: &[Append]) -> Result<Done, Ended> {
        let since = self.failing_since.unwrap_or_else(Instant::now);
        let mut retry_policy = RetryPolicy::until(since + self.retry);
        let (mut in_doubt, mut left) = (None, None);
        loop {
            let was_in_doubt = in_doubt.is_some();
            let failed = match self.writer.attempt(appends, &mut in_doubt, left).await {
                Ok(done) => {
                    (self.failing_since, self.is_away) = (None, false);
                    return Ok(done);
                }
                Err(failed) => failed,
            };
            self.writer.recover(&failed).await;
            let is_in_doubt = in_doubt.is_some();
            if is_in_doubt && !was_in_doubt {
                tracing::warn!(?failed, "the outcome of a commit is not known; the next try looks first");
                // The server answered until now.
                let now = Instant::now();
                (self.failing_since, retry_policy) = (Some(now), RetryPolicy::until(now + self.retry));
            } else if failed.fault().is_transient() {
                self.failing_since.get_or_insert(since);
            }
            if !((is_in_doubt || failed.fault().is_transient()) && retry_policy.wait(failed.fault()).await) {
                self.is_away = failed.is_away();
                return Err(ended(failed, is_in_doubt));
            }
            left = Some(retry_policy.left());
        }
    }
}

/// How a group ended whose last try failed.
fn ended(failed: Failed, is_in_doubt: bool) -> Ended {
    if is_in_doubt {
        tracing::error!(?failed, "the outcome of a commit could not be learnt in time; its producers are announced so");
        return Ended::Unknown;
    }
    match failed {
        Failed::Before(fault) if !fault.is_transient() => Ended::Refused(fault),
        failed => Ended::InVain(failed.into_fault()),
    }
}
