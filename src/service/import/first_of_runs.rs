//! The first event of each run among events that begin in the middle of runs.

use std::collections::HashSet;

/// Recognises the first event of each run in a sequence of events. Without removals it is the one with the seq 1.
#[derive(Debug)]
pub struct FirstOfRuns {
    /// Runs with an event so far, where others than the one with seq 1 may be the first.
    seen: Option<HashSet<String>>,
}

impl FirstOfRuns {
    /// Before the first event. `has_removals`: whether runs may have lost their first events.
    #[must_use]
    pub fn new(has_removals: bool) -> Self {
        Self::after([], has_removals)
    }

    /// After events of these runs.
    #[must_use]
    pub fn after(runs: impl IntoIterator<Item = String>, has_removals: bool) -> Self {
        Self { seen: has_removals.then(|| runs.into_iter().collect()) }
    }

    /// Whether the next event is the first of its run.
    pub fn take(&mut self, run_id: &str, seq: u64) -> bool {
        self.seen.as_mut().map_or(seq == 1, |seen| seen.insert(run_id.to_owned()))
    }
}
