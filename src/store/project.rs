//! Projects inside a store. A project has its own runs and its own feed. The numbers of its runs and the positions of its feed
//! share the tables with those of all other projects: the upper bits of a stored number are the number of the project. So
//! everything of a project is one range of keys in each table, and the project `default` has the numbers that a store without
//! projects had.

use std::borrow::Cow;
use std::fmt;

use super::history::random_id;
use crate::domain::{Error, RunId};

/// Bits of a run number that count the runs of one project. An id that the store assigns to an event has 48 bits for the number.
const RUN_BITS: u32 = 32;

/// Bits of a stored position that count the events of one feed.
const POSITION_BITS: u32 = 40;

/// Maximum number of projects in a store, `default` included.
pub const MAX_PROJECTS: u32 = 10_000;

/// The error of a project too many.
pub(super) fn too_many_projects() -> Error {
    let problem = format!("must be one of the existing projects: a store holds at most {MAX_PROJECTS}");
    Error::invalid("project", problem)
}

/// Number of a project in its store; 0 is `default`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProjectNumber(u32);

impl ProjectNumber {
    /// Maximum number of runs in one project.
    pub(super) const MAX_RUNS: u32 = u32::MAX;

    /// The project `default`.
    pub const DEFAULT: Self = Self(0);

    /// The project with this number in a table; `None` above [`MAX_PROJECTS`].
    pub(crate) fn of(number: i64) -> Option<Self> {
        u32::try_from(number).ok().filter(|number| *number < MAX_PROJECTS).map(Self)
    }

    /// A number that no project of the store has, by chance: a number that was lost with the end of a store's history is not given
    /// again soon, and says nothing about how many projects there are. `None`: all are given.
    pub(super) fn unused(used: &[i64]) -> Option<Self> {
        let free: Vec<i64> = (1..i64::from(MAX_PROJECTS)).filter(|number| !used.contains(number)).collect();
        let at = random_id() as usize % free.len().max(1);
        free.get(at).copied().and_then(Self::of)
    }

    /// The number as stored in a table.
    pub(super) fn number(self) -> i64 {
        i64::from(self.0)
    }

    /// The project of a run number.
    pub(super) fn of_run(run: i64) -> Self {
        Self(u32::try_from(run.unsigned_abs() >> RUN_BITS).unwrap_or(u32::MAX))
    }

    /// The project of a stored position.
    pub(super) fn of_pos(pos: u64) -> Self {
        Self(u32::try_from(pos >> POSITION_BITS).unwrap_or(u32::MAX))
    }

    /// Number that no run of the project has: all its runs have higher numbers, up to [`last_run`](Self::last_run).
    pub(super) fn before_runs(self) -> i64 {
        self.number() << RUN_BITS
    }

    /// Highest number that a run of the project can have.
    pub(super) fn last_run(self) -> i64 {
        self.before_runs() | i64::from(Self::MAX_RUNS)
    }

    /// The run with this number among the runs of the project.
    #[must_use]
    pub fn run(self, number: i64) -> i64 {
        self.before_runs() | number & ((1 << RUN_BITS) - 1)
    }

    /// Number of a run among the runs of its project: what clients may see of it.
    #[must_use]
    pub fn number_in_project(run: i64) -> i64 {
        run & ((1 << RUN_BITS) - 1)
    }

    /// Stored position of this position of the project's feed. Positions above the highest one give the highest one.
    pub(super) fn pos(self, position: u64) -> u64 {
        u64::from(self.0) << POSITION_BITS | position.min((1 << POSITION_BITS) - 1)
    }
}

/// Position in the feed of its project of a stored position.
pub(super) fn position_of(pos: u64) -> u64 {
    pos & ((1 << POSITION_BITS) - 1)
}

impl fmt::Display for ProjectNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A run among the runs of all projects: run ids are unique in their project only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunKey {
    /// The project of the run.
    pub project: ProjectNumber,
    /// Id of the run in its project.
    pub run_id: RunId,
}

impl RunKey {
    /// The run with this id in this project.
    #[must_use]
    pub fn new(project: ProjectNumber, run_id: RunId) -> Self {
        Self { project, run_id }
    }

    /// Text of the column `run_id`, see [`stored_run_id`].
    pub(super) fn stored(&self) -> Cow<'_, str> {
        stored_run_id(self.project, self.run_id.as_str())
    }

    /// Parses the text of the column `run_id`.
    pub(super) fn from_stored(text: &str) -> Option<Self> {
        let (project, run_id) = match text.split_once(SEPARATOR) {
            Some((number, run_id)) => {
                (ProjectNumber::of(number.parse().ok()?).filter(|project| project.0 > 0)?, run_id)
            }
            None => (ProjectNumber::DEFAULT, text),
        };
        Some(Self { project, run_id: RunId::parse(run_id).ok()? })
    }
}

/// Stands between the project number and the run id; a run id has no control characters.
const SEPARATOR: char = '\n';

/// Text of the column `run_id`: the id of a run of the project `default`; in other projects the number of the project, a line feed
/// and the id.
pub(super) fn stored_run_id(project: ProjectNumber, run_id: &str) -> Cow<'_, str> {
    if project == ProjectNumber::DEFAULT { run_id.into() } else { format!("{project}{SEPARATOR}{run_id}").into() }
}

/// Id of the run inside the text of the column `run_id`, also of a damaged one.
pub(super) fn shown_run_id(stored: &str) -> &str {
    stored.split_once(SEPARATOR).map_or(stored, |(_, run_id)| run_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_positions_of_projects_do_not_meet() {
        let (default, first, last) = (ProjectNumber::DEFAULT, ProjectNumber(1), ProjectNumber(MAX_PROJECTS - 1));
        for project in [default, first, last] {
            for run in [project.before_runs() + 1, project.last_run()] {
                assert_eq!(ProjectNumber::of_run(run), project);
                assert!(run < 1 << 48, "it fits into an assigned event id");
            }
            for position in [0, 1, (1 << POSITION_BITS) - 1] {
                assert_eq!(ProjectNumber::of_pos(project.pos(position)), project);
                assert_eq!(position_of(project.pos(position)), position);
                assert!(i64::try_from(project.pos(position)).is_ok());
            }
            assert_eq!(project.pos(u64::MAX), project.pos((1 << POSITION_BITS) - 1));
        }
        assert_eq!((default.pos(77), default.before_runs()), (77, 0));
        assert!(default.last_run() < first.before_runs() + 1);
        assert_eq!((ProjectNumber::of(-1), ProjectNumber::of(i64::from(MAX_PROJECTS))), (None, None));
    }

    #[test]
    fn a_new_project_gets_a_number_that_none_has_until_all_are_given() {
        let used: Vec<i64> = (1..i64::from(MAX_PROJECTS)).filter(|number| *number != 77).collect();
        assert_eq!(ProjectNumber::unused(&used), ProjectNumber::of(77));
        let all: Vec<i64> = (1..i64::from(MAX_PROJECTS)).collect();
        assert_eq!(ProjectNumber::unused(&all), None);
        assert!(ProjectNumber::unused(&[]).is_some_and(|project| project != ProjectNumber::DEFAULT));
    }

    #[test]
    fn a_stored_run_id_reads_back_and_names_its_project() {
        for project in [ProjectNumber::DEFAULT, ProjectNumber(1), ProjectNumber(9_999)] {
            for run_id in ["r", "1", "7/x", "é"] {
                let key = RunKey::new(project, RunId::parse(run_id).unwrap());
                assert_eq!(shown_run_id(&key.stored()), run_id);
                assert_eq!(RunKey::from_stored(&key.stored()), Some(key));
            }
        }
        for bad in ["0\nr", "10000\nr", "x\nr", "1\n", "1\nr\n", "\nr"] {
            assert_eq!(RunKey::from_stored(bad), None, "{bad:?}");
        }
    }
}
