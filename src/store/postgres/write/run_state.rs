//! Run state cache: states of recently written runs as last committed by this replica, used to plan a commit without a
//! read. An entry may be stale because other replicas write too, so every commit planned from the cache compares the
//! states with the stored rows.

use std::num::NonZeroUsize;

use foldhash::fast::RandomState;
use lru::LruCache;

use crate::store::RunKey;
use crate::store::commit::plan::RunState;

/// Maximum number of cached runs. A further run evicts the run that was written least recently.
const MAX_RUNS: NonZeroUsize = NonZeroUsize::new(32_768).expect("not 0");

/// Run states by project and run id.
#[derive(Debug)]
pub struct RunStateCache(LruCache<RunKey, RunState, RandomState>);

impl Default for RunStateCache {
    fn default() -> Self {
        Self::of(MAX_RUNS)
    }
}

impl RunStateCache {
    /// An empty cache that grows up to this number of runs.
    fn of(max_runs: NonZeroUsize) -> Self {
        let mut by_key = LruCache::unbounded_with_hasher(RandomState::default());
        by_key.resize(max_runs);
        Self(by_key)
    }

    /// The run as last committed by this replica.
    pub fn get(&self, run: &RunKey) -> Option<&RunState> {
        self.0.peek(run)
    }

    /// Stores the run states after a commit.
    pub fn commit(&mut self, run_states: impl IntoIterator<Item = RunState>) {
        for head in run_states {
            self.0.put(head.key(), head);
        }
    }

    /// Clears the cache, because the next connection may lead to a different server, or to a database that went back in
    /// time.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Run, RunId};
    use crate::store::commit::plan;

    fn head(number: i64) -> RunState {
        RunState { number, run: Run::new(RunId::parse(&format!("r{number}")).unwrap(), plan::now()) }
    }

    #[test]
    fn the_least_recently_written_run_goes_when_there_are_too_many() {
        let mut run_states = RunStateCache::of(NonZeroUsize::new(10).unwrap());
        (0..10).for_each(|number| run_states.commit([head(number)]));
        run_states.commit([head(0), head(1)]);
        assert!(run_states.get(&head(2).key()).is_some(), "a read does not count");
        run_states.commit([head(10), head(11)]);
        let kept: Vec<i64> = (0..12).filter(|number| run_states.get(&head(*number).key()).is_some()).collect();
        assert_eq!(kept, [0, 1, 4, 5, 6, 7, 8, 9, 10, 11]);
        run_states.forget();
        assert!(run_states.get(&head(0).key()).is_none());
        // A commit with more runs than the capacity: the cache stays within its limit.
        run_states.commit((0..100).map(head));
        assert_eq!(run_states.0.len(), 10);
    }
}
