//! Run state cache: states of recently written runs as last committed by this replica, used to plan a commit without a
//! read. An entry may be stale because other replicas write too, so every commit planned from the cache compares the
//! states with the stored rows.

use std::collections::HashMap;

use crate::domain::RunId;
use crate::store::commit::plan::RunState;

/// Maximum number of cached runs. When exceeded, the half that was written least recently is evicted.
const MAX_RUNS: usize = 32_768;

/// Run states by run id, each with the number of the commit that last wrote the run (`clock`).
#[derive(Debug)]
pub struct RunStateCache {
    by_id: HashMap<RunId, (RunState, u64)>,
    most: usize,
    clock: u64,
}

impl Default for RunStateCache {
    fn default() -> Self {
        Self { by_id: HashMap::new(), most: MAX_RUNS, clock: 0 }
    }
}

impl RunStateCache {
    /// The run as last committed by this replica.
    pub fn get(&self, run_id: &RunId) -> Option<&RunState> {
        self.by_id.get(run_id).map(|(head, _)| head)
    }

    /// Stores the run states after a commit.
    pub fn commit(&mut self, run_states: impl IntoIterator<Item = RunState>) {
        self.clock += 1;
        for head in run_states {
            self.by_id.insert(head.run.run_id.clone(), (head, self.clock));
        }
        if self.by_id.len() > self.most {
            let mut used: Vec<u64> = self.by_id.values().map(|(_, used)| *used).collect();
            used.sort_unstable();
            let median = used[used.len() / 2];
            self.by_id.retain(|_, (_, used)| *used > median);
        }
    }

    /// Clears the cache, because the next connection may lead to a different server, or to a database that went back in
    /// time.
    pub fn forget(&mut self) {
        self.by_id.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Run;
    use crate::store::commit::plan;

    fn head(number: i64) -> RunState {
        RunState { number, run: Run::new(RunId::parse(&format!("r{number}")).unwrap(), plan::now()) }
    }

    #[test]
    fn the_least_recently_used_half_goes_when_there_are_too_many() {
        let mut run_states = RunStateCache { most: 10, ..RunStateCache::default() };
        (0..10).for_each(|number| run_states.commit([head(number)]));
        run_states.commit([head(0), head(1)]);
        run_states.commit([head(10)]);
        let kept: Vec<i64> = (0..11).filter(|number| run_states.get(&head(*number).run.run_id).is_some()).collect();
        assert_eq!(kept, [0, 1, 8, 9, 10]);
        run_states.forget();
        assert!(run_states.get(&head(0).run.run_id).is_none());
        // A commit with more runs than the capacity: the cache stays within its limit.
        run_states.commit((0..100).map(head));
        assert!(run_states.by_id.len() <= 10);
    }
}
