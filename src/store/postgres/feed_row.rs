//! Rows of `feed`, one for each project.

use std::sync::Arc;

use crate::domain::history::{Epoch, History};
use crate::domain::{FeedId, ProjectId};
use crate::store::ProjectNumber;
use crate::store::project::position_of;

use super::known_projects::Project;

/// SELECT list of a [`FeedRow`].
macro_rules! feed_columns {
    () => {
        "id, project, feed_id, last_pos"
    };
}
pub(super) use feed_columns;

/// A row of `feed`; the migrations describe its columns.
#[derive(sqlx::FromRow)]
pub struct FeedRow {
    id: i16,
    project: Option<String>,
    feed_id: i64,
    last_pos: i64,
}

impl FeedRow {
    /// Number of the project; `None` for an impossible one.
    pub fn number(&self) -> Option<ProjectNumber> {
        project_of(self.id)
    }

    /// Last position in the feed.
    pub fn last(&self) -> u64 {
        position_of(self.last_pos.unsigned_abs())
    }

    /// The project with these epochs. A damaged row is logged and gives `None`.
    pub fn project(&self, epochs: Vec<Epoch>) -> Option<Project> {
        let id = self.project.as_deref().and_then(|project| ProjectId::parse(project).ok());
        let project = self.number().zip(id).zip(u32::try_from(self.feed_id).ok());
        if project.is_none() {
            tracing::error!(id = self.id, project = self.project, "damaged: a row of the table `feed`");
        }
        let ((number, id), feed) = project?;
        Some(Project { number, id, history: Arc::new(History::new(FeedId(feed), epochs)) })
    }
}

/// `feed.id` of a project.
pub fn id_of(project: ProjectNumber) -> i16 {
    i16::try_from(project.number() + 1).unwrap_or(i16::MAX)
}

/// The project with this `feed.id`.
pub fn project_of(id: i16) -> Option<ProjectNumber> {
    ProjectNumber::of(i64::from(id) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MAX_PROJECTS;

    #[test]
    fn each_project_has_a_row_of_its_own() {
        assert_eq!((id_of(ProjectNumber::DEFAULT), project_of(0)), (1, None));
        for number in 0..i64::from(MAX_PROJECTS) {
            let project = ProjectNumber::of(number).unwrap();
            assert_eq!(project_of(id_of(project)), Some(project));
        }
    }
}
