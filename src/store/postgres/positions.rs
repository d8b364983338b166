//! Positions in the feeds of projects.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::store::ProjectNumber;

/// A position in the feed of each project; 0 for a project that is not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(BTreeMap<ProjectNumber, u64>);

impl Positions {
    /// The position in the feed of this project.
    pub fn get(&self, project: ProjectNumber) -> u64 {
        self.0.get(&project).copied().unwrap_or(0)
    }

    /// Sets the position of this project.
    pub fn set(&mut self, project: ProjectNumber, position: u64) {
        self.0.insert(project, position);
    }

    /// Sets the position of this project unless it is higher already.
    pub fn raise(&mut self, project: ProjectNumber, position: u64) {
        let known = self.0.entry(project).or_default();
        *known = position.max(*known);
    }

    /// Removes the project.
    pub fn remove(&mut self, project: ProjectNumber) {
        self.0.remove(&project);
    }

    /// Changes all positions. `None` removes the project.
    pub fn change(&mut self, change: impl Fn(ProjectNumber, u64) -> Option<u64>) {
        self.0.retain(|project, position| match change(*project, *position) {
            Some(changed) => {
                *position = changed;
                true
            }
            None => false,
        });
    }

    /// Whether no project is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The named projects with their positions.
    pub fn iter(&self) -> impl Iterator<Item = (ProjectNumber, u64)> {
        self.0.iter().map(|(project, position)| (*project, *position))
    }

    /// The next project after this one with its position; after the last one the first.
    pub fn next(&self, after: ProjectNumber) -> Option<(ProjectNumber, u64)> {
        let later = self.0.range((Bound::Excluded(after), Bound::Unbounded)).next();
        later.or_else(|| self.0.first_key_value()).map(|(project, position)| (*project, *position))
    }
}

impl FromIterator<(ProjectNumber, u64)> for Positions {
    fn from_iter<T: IntoIterator<Item = (ProjectNumber, u64)>>(positions: T) -> Self {
        Self(positions.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(number: i64) -> ProjectNumber {
        ProjectNumber::of(number).unwrap()
    }

    #[test]
    fn projects_take_turns() {
        let positions: Positions = [1, 3, 4].map(|number| (project(number), 7)).into_iter().collect();
        let turns = std::iter::successors(Some(project(0)), |last| Some(positions.next(*last)?.0));
        assert_eq!(turns.take(6).collect::<Vec<_>>(), [0, 1, 3, 4, 1, 3].map(project));
        assert_eq!(Positions::default().next(project(1)), None);
    }

    #[test]
    fn a_position_is_raised_and_never_lowered_by_a_signal() {
        let mut positions = Positions::default();
        for (position, expected) in [(5, 5), (3, 5), (8, 8)] {
            positions.raise(project(1), position);
            assert_eq!((positions.get(project(1)), positions.get(project(2))), (expected, 0));
        }
        positions.change(|_, position| (position > 8).then_some(position));
        assert!(positions.is_empty());
    }
}
