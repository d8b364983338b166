//! Plan of a commit, kept while the outcome is unknown.

use std::collections::HashMap;

use crate::domain::event::Appended;
use crate::domain::{Result, RunId};
use crate::store::Commit;
use crate::store::commit::plan;
use crate::store::commit::plan::{PlannedRun, RunState};

use crate::store::postgres::event_columns::EventColumns;

/// Outcomes of a group, one for each append.
pub type Outcomes = Vec<Result<Appended>>;

/// A planned commit. The commit succeeds only while its runs are in the state `before`, so repeated attempts are safe:
/// at most one attempt takes effect.
pub struct Planned {
    /// Outcomes to answer after success.
    pub outcomes: Outcomes,
    /// Runs and events to write.
    pub runs: Vec<PlannedRun>,
    /// Announcement, with positions as if the commit were the first of the feed.
    pub commit: Commit,
    /// States of the runs before the commit; a new run has the last seq 0.
    pub before: HashMap<RunId, RunState>,
}

impl Planned {
    /// Encodes the announcement and the columns to write.
    pub fn encode(runs: &[PlannedRun]) -> (Commit, EventColumns<'_>) {
        let (columns, encoded) = EventColumns::of(runs);
        (plan::announcement(&encoded, runs), columns)
    }

    /// Whether the commit can still succeed, given the current states of its runs. If false, a different commit changed
    /// a run first, and this commit never took effect.
    pub fn can_take_place(&self, now: &HashMap<RunId, RunState>) -> bool {
        self.runs.iter().all(|planned| {
            let run_id = &planned.head.run.run_id;
            let (Some(before), Some(now)) = (self.before.get(run_id), now.get(run_id)) else { return false };
            let is_same = now.number == before.number && now.run.updated_at == before.run.updated_at;
            now.run.last_seq == before.run.last_seq && (is_same || before.run.last_seq == 0)
        })
    }
}
