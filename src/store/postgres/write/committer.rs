//! The single writer of a replica. The committer takes a group of queued appends, and for each project commits its part
//! of the group in one transaction, then announces the commit and answers the appends. The committer runs in a task of its own, so a disconnecting
//! client cannot interrupt a commit.
//!
//! A commit rejected by the server has stored no event and is retried if the error is transient. After an unknown
//! outcome the next attempt first looks for the in-doubt commit, see `writer`. A group whose outcome stays unknown
//! until the deadline is answered with `OutcomeUnknown` as a whole and never retried, because the commit may still be
//! on its way to the server.
//!
//! While the database is unreachable, all queued appends share one wait: appends that arrive meanwhile are answered
//! together with the group that waited.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Error;
use crate::store::commit::metrics::committed;
use crate::store::commit::parts::{Part, by_project};
use crate::store::commit::queue::{CommitQueueReceiver, QueuedAppend, Replies};
use crate::store::failures::counted;

use super::writer::{Done, Failed, Writer};
use crate::store::postgres::connect::retry::RetryPolicy;
use crate::store::postgres::error::Fault;
use crate::store::postgres::feed::announcer::CommitAnnouncer;

/// The committer task.
pub struct Committer {
    pub writer: Writer,
    pub announcer: CommitAnnouncer,
    /// Retry deadline of a group.
    pub retry: Duration,
    /// Time of the first failure since the last commit: a long outage is waited out once, not once for every group.
    pub failing_since: Option<Instant>,
    /// Whether the last group failed because the server did not answer.
    pub is_away: bool,
}

/// Reason why a group was not committed.
enum Ended {
    /// The server rejected the group: no event is stored.
    Refused(Fault),
    /// No event is stored, and no append of the group is the cause.
    InVain(Fault),
    /// In doubt: the group is stored as a whole, may still be, or never is.
    Unknown,
}

impl Ended {
    fn into_error(self) -> Error {
        match self {
            Self::Refused(fault) | Self::InVain(fault) => fault.into_error(),
            Self::Unknown => counted(Error::OutcomeUnknown),
        }
    }
}

impl Committer {
    /// Runs until the queue is closed and every accepted append is answered.
    pub async fn run(mut self, mut queue: CommitQueueReceiver) {
        while let Some(group) = queue.next().await {
            let mut has_waited = false;
            for Part { appends, replies } in by_project(group) {
                // During a shutdown with an unreachable database, only the first group waits for the retry deadline.
                if has_waited || (queue.is_closing() && self.has_given_up()) {
                    let outcomes = appends.iter().map(|_| Err(Error::StoreUnavailable)).collect();
                    replies.answer(outcomes);
                    continue;
                }
                self.serve(&appends, replies).await;
                has_waited = self.is_away;
            }
            if self.is_away {
                queue.refuse(&Error::StoreUnavailable);
            }
        }
        self.writer.close().await;
    }

    /// Whether the database has been unreachable for longer than the retry deadline.
    fn has_given_up(&self) -> bool {
        self.failing_since.is_some_and(|since| since.elapsed() >= self.retry)
    }

    async fn serve(&mut self, appends: &[QueuedAppend], replies: Replies) {
        let generation = self.writer.generation();
        let (outcomes, commit) = self.commit(appends).await;
        if let Some(commit) = commit {
            self.announcer.announce(generation, commit).await;
        }
        replies.answer(outcomes);
    }

    async fn commit(&mut self, appends: &[QueuedAppend]) -> Done {
        match self.commit_together(appends).await {
            Ok(done) => done,
            // One append of the group is the cause; each append is committed alone so that the others succeed. Not with
            // an import in the group, because no append of an import may be stored after a failed one.
            Err(Ended::Refused(_))
                if appends.len() > 1 && appends.iter().all(|queued| queued.append.import().is_none()) =>
            {
                self.commit_each(appends).await
            }
            Err(ended) => (vec![Err(ended.into_error()); appends.len()], None),
        }
    }

    async fn commit_each(&mut self, appends: &[QueuedAppend]) -> Done {
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
                // Later appends are not attempted: they would wait for the same outage.
                outcomes.resize(appends.len(), Err(Error::StoreUnavailable));
                break;
            }
        }
        (outcomes, None)
    }

    /// Retries until the group is committed or rejected, or the deadline has passed.
    async fn commit_together(&mut self, appends: &[QueuedAppend]) -> Result<Done, Ended> {
        let since = self.failing_since.unwrap_or_else(Instant::now);
        let mut retry_policy = RetryPolicy::until(since + self.retry);
        let (mut in_doubt, mut left) = (None, None);
        let began = Instant::now();
        loop {
            let was_in_doubt = in_doubt.is_some();
            let failed = match self.writer.attempt(appends, &mut in_doubt, left).await {
                Ok(done) => {
                    (self.failing_since, self.is_away) = (None, false);
                    if let Some(commit) = &done.1 {
                        committed(began.elapsed(), commit.feed.iter().map(|chunk| chunk.count).sum());
                    }
                    return Ok(done);
                }
                Err(failed) => failed,
            };
            self.writer.recover(&failed).await;
            let is_in_doubt = in_doubt.is_some();
            if is_in_doubt && !was_in_doubt {
                tracing::warn!(?failed, "the outcome of a commit is not known; the next try looks first");
                // The server has answered until now, so the retry deadline starts here.
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

/// Classifies the final failure of a group.
fn ended(failed: Failed, is_in_doubt: bool) -> Ended {
    if is_in_doubt {
        tracing::error!(
            ?failed,
            "the outcome of a commit is still unknown at the deadline; its producers get OUTCOME_UNKNOWN"
        );
        return Ended::Unknown;
    }
    match failed {
        Failed::Before(fault) if !fault.is_transient() => Ended::Refused(fault),
        failed => Ended::InVain(failed.into_fault()),
    }
}
