//! The projects that this replica knows, with the history (epochs) of each. The histories may be replaced while the replica
//! serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::domain::ProjectId;
use crate::domain::history::History;
use crate::store::{CommitListener, ProjectNumber};

/// A project with its history.
#[derive(Clone, Debug)]
pub struct Project {
    pub number: ProjectNumber,
    pub id: ProjectId,
    pub history: Arc<History>,
}

/// The known projects, and a counter of changes of their histories.
#[derive(Debug, Default)]
pub struct KnownProjects {
    known: RwLock<Known>,
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<ProjectId, ProjectNumber>,
    histories: HashMap<ProjectNumber, Arc<History>>,
    /// Number of projects added one by one.
    added: u64,
}

impl Known {
    fn insert(&mut self, project: Project) {
        self.numbers.insert(project.id, project.number);
        self.histories.insert(project.number, project.history);
    }

    /// Whether every history of `self` is the same in `other`.
    fn is_part_of(&self, other: &Self) -> bool {
        self.histories.iter().all(|(number, history)| other.histories.get(number) == Some(history))
    }
}

impl FromIterator<Project> for Known {
    fn from_iter<T: IntoIterator<Item = Project>>(projects: T) -> Self {
        let mut known = Self::default();
        projects.into_iter().for_each(|project| known.insert(project));
        known
    }
}

impl KnownProjects {
    /// Starts with these projects, in generation 0.
    pub fn new(projects: Vec<Project>) -> Self {
        Self { known: RwLock::new(projects.into_iter().collect()), generation: AtomicU64::new(0) }
    }

    /// All known projects.
    pub fn all(&self) -> Vec<(ProjectId, ProjectNumber)> {
        self.known.read().numbers.iter().map(|(id, number)| (id.clone(), *number)).collect()
    }

    /// Number of a known project.
    pub fn number(&self, id: &ProjectId) -> Option<ProjectNumber> {
        self.known.read().numbers.get(id).copied()
    }

    /// History of a known project.
    pub fn history(&self, project: ProjectNumber) -> Option<Arc<History>> {
        self.known.read().histories.get(&project).cloned()
    }

    /// Number of changes of the histories.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Number of projects added so far, see [`replace`](Self::replace).
    pub fn added(&self) -> u64 {
        self.known.read().added
    }

    /// Adds a project that was read in this generation. Returns false, without a change, in a later generation: the project may
    /// be lost with the former history.
    pub fn insert(&self, generation: u64, project: Project) -> bool {
        let mut known = self.known.write();
        let is_same = self.generation() == generation;
        if is_same {
            known.insert(project);
            known.added += 1;
        }
        is_same
    }

    /// Replaces all projects by those read after `added` projects had been added. If the history of a known project has changed,
    /// a new generation begins, and the listener drops its cached events, atomically: every later read belongs to a later
    /// generation. Returns whether one has changed; `None`, without a change, if a project was added meanwhile, which may not
    /// have been read.
    pub fn replace(&self, added: u64, projects: Vec<Project>, listener: &dyn CommitListener) -> Option<bool> {
        let found: Known = projects.into_iter().collect();
        let mut known = self.known.write();
        if known.added != added {
            return None;
        }
        let is_changed = !known.is_part_of(&found);
        *known = Known { added, ..found };
        if is_changed {
            self.generation.fetch_add(1, Ordering::AcqRel);
            listener.history_changed();
        }
        Some(is_changed)
    }

    /// Announces a commit unless the generation has changed since the commit was read. Returns whether the commit was
    /// announced.
    pub fn announce(&self, generation: u64, announce: impl FnOnce()) -> bool {
        let _known = self.known.read();
        let is_same = self.generation() == generation;
        if is_same {
            announce();
        }
        is_same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::FeedId;
    use crate::domain::history::Epoch;
    use crate::store::Commit;

    struct Silent;

    impl CommitListener for Silent {
        fn committed(&self, _: Commit) {}
    }

    fn project(number: i64, epoch: u32) -> Project {
        let history = History::new(FeedId(1), vec![Epoch { id: epoch, start: 0 }]);
        let id = ProjectId::parse(&format!("p{number}")).unwrap();
        Project { number: ProjectNumber::of(number).unwrap(), id, history: Arc::new(history) }
    }

    #[test]
    fn a_generation_begins_when_a_known_history_changes_and_not_with_a_further_project() {
        let known = KnownProjects::new(vec![project(0, 1)]);
        let replace = |projects| known.replace(known.added(), projects, &Silent);
        assert_eq!(replace(vec![project(0, 1), project(1, 2)]), Some(false), "created by another replica");
        assert_eq!((known.generation(), known.number(&project(1, 2).id)), (0, Some(project(1, 2).number)));
        assert_eq!(replace(vec![project(0, 1), project(1, 3)]), Some(true), "lost, and created again");
        assert_eq!(replace(vec![project(0, 1)]), Some(true), "lost");
        assert_eq!((known.generation(), known.number(&project(1, 3).id)), (2, None));
    }

    #[test]
    fn a_project_that_was_read_in_a_former_generation_is_not_added() {
        let known = KnownProjects::new(vec![project(0, 1)]);
        assert!(known.insert(0, project(1, 2)));
        known.replace(1, vec![project(0, 9)], &Silent);
        assert!(!known.insert(0, project(1, 2)) && known.history(project(1, 2).number).is_none());
        assert!(known.insert(1, project(1, 2)) && known.history(project(1, 2).number).is_some());
    }

    #[test]
    fn a_project_that_was_added_during_the_read_of_all_is_not_dropped() {
        let known = KnownProjects::new(vec![project(0, 1)]);
        let added = known.added();
        known.insert(0, project(1, 2));
        assert_eq!(known.replace(added, vec![project(0, 9)], &Silent), None);
        assert_eq!((known.generation(), known.number(&project(1, 2).id)), (0, Some(project(1, 2).number)));
    }
}
