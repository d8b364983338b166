//! Plan of a commit, kept while the outcome is unknown.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::domain::event::Appended;
use crate::domain::projection::Lifecycle;
use crate::domain::{Result, Run};
use crate::store::commit::plan::{self, ExistingEvents, Plan, PlannedRun, RunState};
use crate::store::commit::queue::QueuedAppend;
use crate::store::postgres::event_columns::EventColumns;
use crate::store::{Commit, RunKey};

/// Outcomes of a group, one for each append.
pub type Outcomes = Vec<Result<Appended>>;

/// A planned commit. The commit succeeds only while its runs are in the state `before`, so repeated attempts are safe:
/// at most one attempt takes effect.
pub struct Planned {
    /// Outcomes to answer after success.
    pub outcomes: Outcomes,
    /// Runs and events to write, all of one project.
    pub runs: Vec<PlannedRun>,
    /// Announcement, with positions as if the commit were the first of the feed.
    pub commit: Commit,
    /// States of the runs before the commit; a new run has the last seq 0.
    pub before: HashMap<RunKey, RunState>,
}

impl Planned {
    /// Encodes the announcement and the columns to write.
    pub fn encode(runs: &[PlannedRun]) -> (Commit, EventColumns<'_>) {
        let (columns, encoded) = EventColumns::of(runs);
        let commit = plan::announcements(&encoded, runs).pop();
        (commit.unwrap_or_else(|| unreachable!("a planned commit has an event")), columns)
    }

    /// Whether the commit can still succeed, given the current states of its runs. If false, a different commit changed
    /// a run first, and this commit never took effect.
    pub fn can_take_place(&self, now: &HashMap<RunKey, RunState>) -> bool {
        self.runs.iter().all(|planned| {
            let key = planned.head.key();
            let (Some(before), Some(now)) = (self.before.get(&key), now.get(&key)) else { return false };
            let is_same = now.number == before.number && now.run.updated_at == before.run.updated_at;
            now.run.last_seq == before.run.last_seq && (is_same || before.run.last_seq == 0)
        })
    }
}

/// Plans a group of appends to one project, with the states of their runs from `head`.
pub fn plan_group(
    lifecycle: Lifecycle,
    head: impl Fn(&RunKey) -> Option<RunState>,
    known: &ExistingEvents,
    appends: &[QueuedAppend],
    now: Timestamp,
) -> (Outcomes, Vec<PlannedRun>) {
    let head = |run: &RunKey| {
        let new = || RunState { number: run.project.before_runs(), run: Run::new(run.run_id.clone(), now) };
        head(run).unwrap_or_else(new)
    };
    let mut plan = Plan::new(head, known, lifecycle, now);
    let outcomes = appends.iter().map(|append| plan.add(append.clone())).collect();
    (outcomes, plan.finish())
}
