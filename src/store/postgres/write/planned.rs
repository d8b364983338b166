//! What a commit stores, kept for as long as its outcome is not known.

use std::collections::HashMap;

use crate::domain::event::Appended;
use crate::domain::{Result, RunId};
use crate::store::Commit;
use crate::store::commit::plan;
use crate::store::commit::plan::{PlannedRun, RunState};

use crate::store::postgres::event_columns::EventColumns;

/// One outcome for each append of a group.
pub type Outcomes = Vec<Result<Appended>>;

/// A planned commit. It takes place only while its runs are as `before` says, so it can be sent again as it is: at most one
/// of the retry_policy takes place, and it does not matter which.
pub struct Planned {
    /// What is answered if it takes place.
    pub outcomes: Outcomes,
    /// What it writes.
    pub runs: Vec<PlannedRun>,
    /// What to tell of it, as if it were the first commit of the feed.
    pub commit: Commit,
    /// The runs that it was planned for; a new one ends at seq 0.
    pub before: HashMap<RunId, RunState>,
}

impl Planned {
    /// The announcement, and the rows to write.
    pub fn encode(runs: &[PlannedRun]) -> (Commit, EventColumns<'_>) {
        let (columns, laid) = EventColumns::of(runs);
        (plan::announcement(&laid, runs), columns)
    }

    /// Whether it can still take place, by the runs as they are now. Where it cannot, somebody else was first, and it has not
    /// taken place either: its own runs would be changed by itself.
    pub fn can_take_place(&self, now: &HashMap<RunId, RunState>) -> bool {
        self.runs.iter().all(|planned| {
            let run_id = &planned.head.run.run_id;
            let (Some(before), Some(now)) = (self.before.get(run_id), now.get(run_id)) else { return false };
            let is_same = now.number == before.number && now.run.updated_at == before.run.updated_at;
            now.run.last_seq == before.run.last_seq && (is_same || before.run.last_seq == 0)
        })
    }
}
