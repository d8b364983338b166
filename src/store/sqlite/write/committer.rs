//! The one writing task. Takes a group of appends from the commit queue, commits the group in one transaction, then
//! announces the commit and answers the producers. As a task of its own the committer finishes a commit even if the
//! client disconnects.
//!
//! While one group is being written to the disk, the next group is planned, ready for the next transaction.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::event::Appended;
use crate::domain::{Error, Result};
use crate::store::commit::plan::ExistingEvents;
use crate::store::commit::queue::{CommitQueueReceiver, Group, QueueDepth, QueuedAppend, Replies};

use super::planner::{Planned, Planner, Writes};
use super::writer::Writer;
use crate::store::sqlite::maintenance::CommitSize;

/// The committer's state: planned runs and the connection that writes.
pub struct Committer {
    pub planner: Planner,
    pub writer: Writer,
}

/// Events of a commit from which the next group is planned in parallel. Planning after a smaller commit takes no
/// noticeable time, and a group left in the queue goes on growing.
const LARGE_COMMIT_EVENTS: u32 = 256;

/// The next group to commit.
enum Next {
    /// Planned; waits only for the current commit.
    Planned(Planned, Replies),
    /// Taken from the queue; planning needs a read from the file first.
    Taken(Group),
}

impl Committer {
    /// Runs until the queue is closed and all accepted appends are answered.
    pub async fn run(mut self, mut queue: CommitQueueReceiver) {
        let depth = queue.depth();
        // Appends in the previous group.
        let mut before = 0;
        let mut next = None;
        loop {
            let (planned, replies) = match next.take() {
                Some(Next::Planned(planned, replies)) => (planned, replies),
                taken => {
                    let group = match taken {
                        Some(Next::Taken(mut group)) => {
                            queue.take(&mut group);
                            group
                        }
                        _ => match self.next(&mut queue, &depth).await {
                            Some(group) => group,
                            None => break,
                        },
                    };
                    match self.plan(group.appends).await {
                        Ok(planned) => (planned, group.replies),
                        Err(outcomes) => {
                            group.replies.answer(outcomes);
                            self.writer.run_maintenance(CommitSize::default(), || depth.is_idle()).await;
                            continue;
                        }
                    }
                }
            };
            // Half of all appends under way. If every publisher waits for an answer, this yields two groups of similar
            // size that alternate between the disk and the planner.
            let enough = usize::midpoint(before, replies.len());
            before = replies.len();
            let failure;
            (failure, next) = self.commit(planned, replies, &depth, queue.next_of(enough)).await;
            if let (Some(error), Some(Next::Planned(_, replies))) = (&failure, &mut next) {
                // Planned on top of the failed commit, so the plan is invalid.
                let replies = std::mem::take(replies);
                let outcomes = vec![Err(not_tried(error)); replies.len()];
                replies.answer(outcomes);
                next = None;
            }
        }
        self.writer.close().await;
    }

    /// The next group; meanwhile flushes on request.
    async fn next(&mut self, queue: &mut CommitQueueReceiver, depth: &QueueDepth) -> Option<Group> {
        let requests = Arc::clone(&self.writer.flush_requests);
        // Not dropped before it is ready: it may hold an append already.
        let mut next = pin!(queue.next());
        loop {
            tokio::select! {
                biased;
                group = &mut next => return group,
                () = requests.requested() => self.flush(depth).await,
            }
        }
    }

    /// Flushes the unindexed tail while nothing else waits.
    async fn flush(&mut self, depth: &QueueDepth) {
        if self.writer.stale {
            match self.writer.refresh().await {
                Ok(run_states) => self.planner.replace(run_states),
                // The next publish meets the same error and is answered with it.
                Err(_) => return,
            }
        }
        self.writer.run_maintenance(CommitSize::default(), || depth.is_idle()).await;
    }

    /// Commits a group, answers its producers and runs maintenance; in parallel takes the next group, once enough
    /// appends wait, and plans that group. Returns the error if the group was not stored, and the next group.
    async fn commit(
        &mut self,
        planned: Planned,
        replies: Replies,
        depth: &QueueDepth,
        next: impl Future<Output = Group>,
    ) -> (Option<Error>, Option<Next>) {
        let Self { planner, writer } = self;
        let is_large = planned.writes.as_ref().is_some_and(|writes| writes.events() >= LARGE_COMMIT_EVENTS);
        // After a failure the run states must be read from the file before the next plan.
        let has_failed = AtomicBool::new(writer.stale || writer.refusal().is_some());
        let is_taken = AtomicBool::new(false);
        let is_idle = || depth.is_idle() && !is_taken.load(Ordering::Relaxed);
        let work = async {
            let size = planned.writes.as_ref().map(Writes::size).unwrap_or_default();
            let count = planned.outcomes.len();
            let stored = writer.store(planned).await;
            let failure = stored.as_ref().err().cloned();
            has_failed.fetch_or(failure.is_some(), Ordering::Relaxed);
            replies.answer(stored.unwrap_or_else(|error| vec![Err(error); count]));
            writer.run_maintenance(size, is_idle).await;
            failure
        };
        let (mut work, mut next) = (pin!(work), pin!(next));
        let mut taken = None;
        loop {
            tokio::select! {
                biased;
                failure = &mut work => return (failure, taken),
                group = &mut next, if is_large && taken.is_none() => {
                    is_taken.store(true, Ordering::Relaxed);
                    taken = Some(if !has_failed.load(Ordering::Relaxed) && planner.knows(&group.appends) {
                        Next::Planned(planner.plan(group.appends, &ExistingEvents::default()), group.replies)
                    } else {
                        Next::Taken(group)
                    });
                }
            }
        }
    }

    /// Plans a group after reading its runs and existing events; all earlier groups are written. Returns the outcomes
    /// instead if the group cannot be planned as a whole.
    async fn plan(&mut self, appends: Vec<QueuedAppend>) -> std::result::Result<Planned, Vec<Result<Appended>>> {
        match self.load(&appends).await {
            Ok(known) => Ok(self.planner.plan(appends, &known)),
            // Damage belongs to the run of one append; the other appends must not fail with that run. A group with an
            // import fails as a whole: nothing may be stored after a failed append of an import.
            Err(Error::StoreDamaged | Error::EventDamaged { .. })
                if appends.len() > 1 && appends.iter().all(|queued| queued.append.import().is_none()) =>
            {
                let mut outcomes = Vec::with_capacity(appends.len());
                for append in appends {
                    outcomes.push(self.store_alone(append).await);
                }
                Err(outcomes)
            }
            Err(error) => Err(vec![Err(error); appends.len()]),
        }
    }

    async fn store_alone(&mut self, append: QueuedAppend) -> Result<Appended> {
        let alone = vec![append];
        // An earlier append may have failed, so run states may have to be read again.
        let known = self.load(&alone).await?;
        let planned = self.planner.plan(alone, &known);
        self.writer
            .store(planned)
            .await?
            .pop()
            .unwrap_or_else(|| Err(Error::internal("a commit of one append has no outcome")))
    }

    async fn load(&mut self, appends: &[QueuedAppend]) -> Result<ExistingEvents> {
        let loaded = self.load_from_files(appends).await;
        loaded.map_err(|error| self.writer.cause(error))
    }

    async fn load_from_files(&mut self, appends: &[QueuedAppend]) -> Result<ExistingEvents> {
        if self.writer.stale {
            let run_states = self.writer.refresh().await?;
            self.planner.replace(run_states);
        }
        if let Some(refusal) = self.writer.refusal() {
            return Err(refusal);
        }
        self.planner.load(&mut self.writer.connection, appends).await
    }
}

/// Error for the appends of a group that was planned on top of a failed commit: a store-wide failure as is, else
/// `StoreUnavailable`.
fn not_tried(failure: &Error) -> Error {
    match failure {
        Error::StoreFull | Error::StoreReadOnly | Error::StoreLost { .. } => failure.clone(),
        _ => Error::StoreUnavailable,
    }
}
