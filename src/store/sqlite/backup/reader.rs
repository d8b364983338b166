//! The events and the runs of a copy, in order.

use std::path::{Path, PathBuf};

use sqlx::SqliteConnection;

use super::BackupError;
use super::verify::open;
use crate::codec::record;
use crate::domain::{Event, ProjectId, Result, Run, RunId};
use crate::store::project::position_of;
use crate::store::run_row::RunRow;
use crate::store::sqlite::SqliteOptions;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::id_index::Ids;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::sqlite::log_row::{LogRow, log_columns};
use crate::store::sqlite::projects;
use crate::store::sqlite::read::runs;
use crate::store::sqlite::recovery::RecoveredState;
use crate::store::{ProjectNumber, RunKey};

/// Rows of one read.
const ROWS: u32 = 64;

/// Consecutive events of a project.
#[derive(Default)]
pub struct EventsPart {
    /// The events.
    pub events: Vec<Event>,
    /// Position of the last row of the log among them, after which the next part begins.
    pub end: u64,
}

/// An open copy.
pub struct BackupReader {
    path: PathBuf,
    connection: SqliteConnection,
    /// How far runs go whose rows are behind the log.
    tail: UnindexedTail,
}

impl BackupReader {
    /// Opens a copy. Changes nothing, and creates no file.
    pub async fn open(path: &Path) -> Result<Self, BackupError> {
        let mut connection = open(path).await?;
        let tail = UnindexedTail::default();
        let memory = RecoveredState::load(&mut connection).await.map_err(|error| BackupError::content(path, error))?;
        memory.install(&tail, &Ids::default(), &SqliteOptions::new(path));
        Ok(Self { path: path.to_owned(), connection, tail })
    }

    /// The projects, `default` first.
    pub async fn projects(&mut self) -> Result<Vec<(ProjectNumber, ProjectId)>, BackupError> {
        let all = projects::all(&mut self.connection).await;
        let all = all.map_err(|error| BackupError::content(&self.path, error))?;
        Ok(all.into_iter().map(|project| (project.number, project.id)).collect())
    }

    /// The next events of a project in the order of its feed, after the part that ended at this position; none at the end. Events
    /// before the first one of the feed are among them, as far as their runs keep them.
    pub async fn events(&mut self, project: ProjectNumber, after: u64) -> Result<EventsPart, BackupError> {
        let read = self.rows(project, after).await;
        read.map_err(|error| BackupError::content(&self.path, error))
    }

    /// Whether a run has lost its first events.
    pub async fn has_removals(&mut self) -> Result<bool, BackupError> {
        const ANY: &str = "SELECT EXISTS (SELECT 1 FROM runs WHERE first_seq > 1)";
        let any = sqlx::query_scalar(ANY).fetch_one(&mut self.connection).await;
        any.map_err(|error| BackupError::sqlite(&self.path, error))
    }

    async fn rows(&mut self, project: ProjectNumber, after: u64) -> Result<EventsPart> {
        const NEXT: &str =
            concat!("SELECT ", log_columns!(), " FROM log l WHERE pos > ? AND pos <= ? ORDER BY pos LIMIT ?");
        let (after, last) = (project.pos(after).cast_signed(), project.pos(u64::MAX).cast_signed());
        let query = sqlx::query_as::<_, LogRow>(NEXT).bind(after).bind(last).bind(ROWS);
        let rows = query.fetch_all(&mut self.connection).await.map_err(from_sqlx)?;
        let mut part = EventsPart::default();
        for row in rows {
            let chunk = row.into_chunk()?;
            part.end = position_of(chunk.first);
            for found in chunk.records() {
                part.events.push(record::decode(found?.1)?);
            }
        }
        Ok(part)
    }

    /// One run.
    pub async fn run(&mut self, project: ProjectNumber, run_id: &RunId) -> Result<Run, BackupError> {
        let key = RunKey::new(project, run_id.clone());
        let select = sqlx::AssertSqlSafe(format!("{} WHERE r.run_id = ?", runs::SELECT));
        let row = sqlx::query_as::<_, RunRow>(select).bind(key.stored()).fetch_one(&mut self.connection).await;
        self.current(row.map_err(|error| BackupError::sqlite(&self.path, error))?)
    }

    /// The next runs of a project in the order of creation, each with its number, after this number; none at the end.
    pub async fn runs(&mut self, project: ProjectNumber, after: i64) -> Result<Vec<(i64, Run)>, BackupError> {
        const PART: &str = "WHERE r.run > ? AND r.run <= ? ORDER BY r.run LIMIT ?";
        let select = sqlx::AssertSqlSafe(format!("{} {PART}", runs::SELECT));
        let query = sqlx::query_as::<_, RunRow>(select);
        let query = query.bind(project.run(after)).bind(project.last_run()).bind(ROWS);
        let rows = query.fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| BackupError::sqlite(&self.path, error))?;
        rows.into_iter().map(|row| Ok((ProjectNumber::number_in_project(row.run), self.current(row)?))).collect()
    }

    fn current(&self, row: RunRow) -> Result<Run, BackupError> {
        let run = runs::current(row, &self.tail).map_err(|error| BackupError::content(&self.path, error))?;
        run.ok_or_else(|| BackupError::damaged(&self.path, "the row of a run is ahead of the log"))
    }
}
