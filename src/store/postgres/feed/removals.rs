//! Removals of payloads by any replica. The number of removals in each feed is read with its end: what is announced from memory
//! and lies up to that end may have lost its payload.

use std::collections::HashMap;

use crate::store::postgres::positions::Positions;
use crate::store::postgres::read::FeedEnds;
use crate::store::{CommitListener, ProjectNumber};

/// The removals that the follower has passed on to the listener.
pub struct SeenRemovals {
    /// Number of removals in each feed that the listener knows of.
    counts: HashMap<ProjectNumber, u64>,
    /// Ends of the feeds at their last removals.
    ends: Positions,
}

impl SeenRemovals {
    /// Starts with the removals before the first commit that is announced.
    pub fn new(counts: HashMap<ProjectNumber, u64>) -> Self {
        Self { counts, ends: Positions::default() }
    }

    /// Passes new removals on to the listener; returns whether there are any. Called between announcements, so that nothing read
    /// before is announced after.
    pub fn note(&mut self, found: &FeedEnds, listener: &dyn CommitListener) -> bool {
        let mut is_new = false;
        for (project, removals) in &found.removals {
            if self.counts.insert(*project, *removals) != Some(*removals) {
                self.ends.set(*project, found.ends.get(*project));
                listener.removed(*project);
                is_new = true;
            }
        }
        is_new
    }

    /// Whether a commit that begins at this position may have lost payloads since it was made.
    pub fn may_concern(&self, project: ProjectNumber, first: u64) -> bool {
        first <= self.ends.get(project)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::store::Commit;

    #[derive(Default)]
    struct Counting(AtomicU64);

    impl CommitListener for Counting {
        fn committed(&self, _: Commit) {}

        fn removed(&self, _: ProjectNumber) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_change_is_passed_on_once_and_commits_up_to_its_end_may_be_concerned() {
        let project = ProjectNumber::DEFAULT;
        let found = |removals, end| FeedEnds {
            ends: [(project, end)].into_iter().collect(),
            removals: [(project, removals)].into_iter().collect(),
            ..FeedEnds::default()
        };
        let (listener, mut seen) = (Counting::default(), SeenRemovals::new(found(2, 5).removals));
        assert!(!seen.note(&found(2, 7), &listener));
        assert_eq!((listener.0.load(Ordering::Relaxed), seen.may_concern(project, 1)), (0, false));
        assert!(seen.note(&found(4, 9), &listener));
        assert!(!seen.note(&found(4, 12), &listener));
        assert_eq!(listener.0.load(Ordering::Relaxed), 1);
        assert!(seen.may_concern(project, 9) && !seen.may_concern(project, 10));
    }
}
