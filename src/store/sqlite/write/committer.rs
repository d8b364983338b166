//! The one writer. It takes all that waits, commits it in one transaction, and only then tells of it and answers.
//! It is a task of its own: a client that goes away cannot stop a commit half-way.
//!
//! While one group is on its way to the disk, the next one is planned: it is written as soon as the disk is free.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::event::Appended;
use crate::domain::{Error, Result};
use crate::store::Append;
use crate::store::commit::plan::ExistingEvents;
use crate::store::commit::queue::{CommitQueueReceiver, Group, QueueDepth, Replies};

use super::planner::{Planned, Planner};
use super::writer::Writer;

/// The writer's state.
pub struct Committer {
    pub planner: Planner,
    pub writer: Writer,
}

/// Events of a commit from which on the next one is planned beside it. Fewer are planned in no time, and a group that is not
/// taken yet goes on growing.
const LARGE_COMMIT_EVENTS: u32 = 256;

/// A group whose turn is next.
enum Next {
    /// It waits only for the disk.
    Planned(Planned, Replies),
    /// Something has to be read before it can be planned.
    Taken(Group),
}

impl Committer {
    /// Runs until the queue is closed and all that was accepted before is answered.
    pub async fn run(mut self, mut queue: CommitQueueReceiver) {
        let depth = queue.depth();
        // How many appends the last group held.
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
                        _ => match queue.next().await {
                            Some(group) => group,
                            None => break,
                        },
                    };
                    match self.plan(group.appends).await {
                        Ok(planned) => (planned, group.replies),
                        Err(outcomes) => {
                            group.replies.answer(outcomes);
                            self.writer.run_maintenance((0, 0), || depth.is_idle()).await;
                            continue;
                        }
                    }
                }
            };
            // Half of what is under way: where all publishers wait for their answers, this leaves two groups of like size that
            // take turns, one at the disk and one here.
            let enough = usize::midpoint(before, replies.len());
            before = replies.len();
            let failure;
            (failure, next) = self.commit(planned, replies, &depth, queue.next_of(enough)).await;
            if let (Some(error), Some(Next::Planned(_, replies))) = (&failure, &mut next) {
                // It was planned for runs that are not so now.
                let replies = std::mem::take(replies);
                let outcomes = vec![Err(not_tried(error)); replies.len()];
                replies.answer(outcomes);
                next = None;
            }
        }
        self.writer.close().await;
    }

    /// Commits a group, answers it, and does what is due behind it; meanwhile takes the next one, if enough of it comes, and plans
    /// it. Returns why the group was not stored, and the next one.
    async fn commit(
        &mut self,
        planned: Planned,
        replies: Replies,
        depth: &QueueDepth,
        next: impl Future<Output = Group>,
    ) -> (Option<Error>, Option<Next>) {
        let Self { planner, writer } = self;
        let is_large = planned.writes.as_ref().is_some_and(|writes| writes.events() >= LARGE_COMMIT_EVENTS);
        // After a failure nothing is planned before the file was asked.
        let has_failed = AtomicBool::new(writer.stale || writer.refusal().is_some());
        let is_taken = AtomicBool::new(false);
        let is_idle = || depth.is_idle() && !is_taken.load(Ordering::Relaxed);
        let work = async {
            let share = planned.writes.as_ref().map_or((0, 0), |writes| (writes.entries.len(), writes.ids.len()));
            let count = planned.outcomes.len();
            let stored = writer.store(planned).await;
            let failure = stored.as_ref().err().cloned();
            has_failed.fetch_or(failure.is_some(), Ordering::Relaxed);
            replies.answer(stored.unwrap_or_else(|error| vec![Err(error); count]));
            writer.run_maintenance(share, is_idle).await;
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

    /// Plans a group when all before it is written, and reads what is needed for it; or gives the outcomes, where that is not
    /// possible for the group as a whole.
    async fn plan(&mut self, appends: Vec<Append>) -> std::result::Result<Planned, Vec<Result<Appended>>> {
        match self.load(&appends).await {
            Ok(known) => Ok(self.planner.plan(appends, &known)),
            // What is damaged belongs to one of them; the others must not suffer for it. Of an import nothing may be stored
            // that comes after it.
            Err(Error::StoreDamaged | Error::EventDamaged { .. })
                if appends.len() > 1 && appends.iter().all(|append| append.import().is_none()) =>
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

    async fn store_alone(&mut self, append: Append) -> Result<Appended> {
        let alone = vec![append];
        // One before it may have failed and left things to be read anew.
        let known = self.load(&alone).await?;
        let planned = self.planner.plan(alone, &known);
        self.writer.store(planned).await?.pop().unwrap_or(Err(Error::Internal))
    }

    async fn load(&mut self, appends: &[Append]) -> Result<ExistingEvents> {
        let loaded = self.load_from_files(appends).await;
        loaded.map_err(|error| self.writer.cause(error))
    }

    async fn load_from_files(&mut self, appends: &[Append]) -> Result<ExistingEvents> {
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

/// What is told to those who were to follow on a group that failed so: that it is no fault of theirs.
fn not_tried(failure: &Error) -> Error {
    match failure {
        Error::StoreFull | Error::StoreReadOnly | Error::StoreLost { .. } => failure.clone(),
        _ => Error::StoreUnavailable,
    }
}
