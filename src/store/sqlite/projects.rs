//! Projects of a file: the table `projects`, and what of it lies in memory.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use sqlx::{SqliteConnection, SqlitePool};

use super::epochs;
use super::error::{StepError, from_sqlx};
use super::rare_writes::{RareWrites, written};
use super::store_row::StoreRow;
use crate::domain::history::History;
use crate::domain::{Error, FeedId, ProjectId, Result};
use crate::store::ProjectNumber;
use crate::store::checksum::Checksum;
use crate::store::project::too_many_projects;

/// A project as stored.
#[derive(Clone, Debug)]
pub struct StoredProject {
    pub number: ProjectNumber,
    pub id: ProjectId,
    pub feed: FeedId,
    /// The indexes cover the log of the project up to this stored position.
    pub flushed_pos: u64,
}

/// A row of `projects`; the migrations describe its columns.
#[derive(sqlx::FromRow)]
struct ProjectRow {
    project: i64,
    name: String,
    feed_id: i64,
    sealed_pos: i64,
    checksum: i64,
}

const SELECT: &str = "SELECT project, name, feed_id, sealed_pos, checksum FROM projects";

impl ProjectRow {
    fn sum(&self) -> i64 {
        let sum = Checksum::default().number(self.project).text(Some(&self.name));
        sum.number(self.feed_id).number(self.sealed_pos).finish()
    }

    /// The project. Fails with `StoreDamaged` if the row does not match its checksum.
    fn project(&self) -> Result<StoredProject> {
        let project = if self.checksum == self.sum() { self.read() } else { None };
        project.ok_or_else(|| {
            tracing::error!(project = self.project, "damaged: the row of a project");
            Error::StoreDamaged
        })
    }

    fn read(&self) -> Option<StoredProject> {
        Some(StoredProject {
            number: ProjectNumber::of(self.project)?,
            id: ProjectId::parse(&self.name).ok()?,
            feed: FeedId(u32::try_from(self.feed_id).ok()?),
            flushed_pos: self.sealed_pos.unsigned_abs(),
        })
    }
}

/// All projects of the file, `default` first.
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<StoredProject>> {
    let store = StoreRow::read(connection).await?;
    let mut projects = vec![StoredProject {
        number: ProjectNumber::DEFAULT,
        id: ProjectId::default(),
        feed: FeedId(u32::try_from(store.feed_id).unwrap_or_default()),
        flushed_pos: store.sealed_pos.unsigned_abs(),
    }];
    let rows: Vec<ProjectRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY project")))
        .fetch_all(connection)
        .await
        .map_err(from_sqlx)?;
    for row in rows {
        projects.push(row.project()?);
    }
    Ok(projects)
}

/// Writes another id of the feed of a project, which is not `default`.
pub async fn write_feed(connection: &mut SqliteConnection, project: ProjectNumber, feed: FeedId) -> Result<()> {
    let select = sqlx::query_as::<_, ProjectRow>(sqlx::AssertSqlSafe(format!("{SELECT} WHERE project = ?")));
    let row = select.bind(project.number()).fetch_one(&mut *connection).await.map_err(from_sqlx)?;
    let row = ProjectRow { feed_id: i64::from(feed.0), ..row };
    let update = sqlx::query("UPDATE projects SET feed_id = ?, checksum = ? WHERE project = ?");
    update.bind(row.feed_id).bind(row.sum()).bind(row.project).execute(connection).await.map_err(from_sqlx)?;
    Ok(())
}

/// Writes how far the indexes cover the log of a project, in the caller's transaction.
pub async fn write_flushed(
    transaction: &mut SqliteConnection,
    project: ProjectNumber,
    pos: u64,
) -> Result<(), StepError> {
    if project == ProjectNumber::DEFAULT {
        return StoreRow::write_flushed(transaction, pos.cast_signed()).await;
    }
    let select = sqlx::query_as::<_, ProjectRow>(sqlx::AssertSqlSafe(format!("{SELECT} WHERE project = ?")));
    let row = select.bind(project.number()).fetch_one(&mut *transaction).await?;
    // A new checksum would make damage look sound.
    row.project()?;
    let row = ProjectRow { sealed_pos: pos.cast_signed(), ..row };
    let update = sqlx::query("UPDATE projects SET sealed_pos = ?, checksum = ? WHERE project = ?");
    update.bind(row.sealed_pos).bind(row.sum()).bind(row.project).execute(transaction).await?;
    Ok(())
}

/// The projects in memory, with the history of each feed.
#[derive(Debug, Default)]
pub struct Projects(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<ProjectId, ProjectNumber>,
    histories: HashMap<ProjectNumber, Arc<History>>,
}

impl Projects {
    /// Adds a project.
    pub fn insert(&self, project: &StoredProject, history: History) {
        let mut known = self.0.write();
        known.by_id.insert(project.id.clone(), project.number);
        known.histories.insert(project.number, Arc::new(history));
    }

    /// History of the feed of a project.
    pub fn history(&self, project: ProjectNumber) -> Arc<History> {
        let known = self.0.read();
        let unknown = || Arc::new(History::new(FeedId(0), Vec::new()));
        known.histories.get(&project).cloned().unwrap_or_else(unknown)
    }

    /// All projects.
    pub fn all(&self) -> Vec<(ProjectId, ProjectNumber)> {
        self.0.read().by_id.iter().map(|(id, number)| (id.clone(), *number)).collect()
    }

    fn known(&self, id: &ProjectId) -> Option<ProjectNumber> {
        self.0.read().by_id.get(id).copied()
    }

    /// Number of the project with this id, from memory or from the file.
    pub async fn find(&self, readers: &SqlitePool, id: &ProjectId) -> Result<Option<ProjectNumber>> {
        if let Some(number) = self.known(id) {
            return Ok(Some(number));
        }
        // A creation with an unknown outcome may have taken place.
        let mut reader = readers.acquire().await.map_err(from_sqlx)?;
        let Some((project, history)) = find(&mut reader, id).await? else { return Ok(None) };
        self.insert(&project, history);
        Ok(Some(project.number))
    }

    /// Creates a project.
    pub async fn create(&self, writes: &RareWrites, id: &ProjectId) -> Result<ProjectNumber> {
        if let Some(number) = self.known(id) {
            return Ok(number);
        }
        let created: Result<(StoredProject, History)> =
            async { written!(writes, transaction => create(&mut transaction, id).await) }.await;
        let (project, history) = created?;
        self.insert(&project, history);
        Ok(project.number)
    }
}

async fn find(connection: &mut SqliteConnection, id: &ProjectId) -> Result<Option<(StoredProject, History)>> {
    let select = sqlx::query_as::<_, ProjectRow>(sqlx::AssertSqlSafe(format!("{SELECT} WHERE name = ?")));
    let row = select.bind(id.as_str()).fetch_optional(&mut *connection).await.map_err(from_sqlx)?;
    let Some(project) = row.map(|row| row.project()).transpose()? else { return Ok(None) };
    let epochs = epochs::read(connection, project.number).await?;
    let history = History::new(project.feed, epochs);
    Ok(Some((project, history)))
}

async fn create(transaction: &mut SqliteConnection, id: &ProjectId) -> Result<(StoredProject, History)> {
    if let Some(found) = find(transaction, id).await? {
        return Ok(found);
    }
    let used = sqlx::query_scalar("SELECT project FROM projects").fetch_all(&mut *transaction).await;
    let number = ProjectNumber::unused(&used.map_err(from_sqlx)?).ok_or_else(too_many_projects)?;
    let feed = FeedId(crate::store::history::random_id());
    let sealed_pos = number.pos(0).cast_signed();
    let (name, feed_id) = (id.as_str().to_owned(), i64::from(feed.0));
    let row = ProjectRow { project: number.number(), name, feed_id, sealed_pos, checksum: 0 };
    let insert =
        sqlx::query("INSERT INTO projects (project, name, feed_id, sealed_pos, checksum) VALUES (?, ?, ?, ?, ?)");
    let insert = insert.bind(row.project).bind(&row.name).bind(row.feed_id).bind(row.sealed_pos).bind(row.sum());
    insert.execute(&mut *transaction).await.map_err(from_sqlx)?;
    // An epoch with a random id from the beginning: a project that is created again in an older copy of the file is another one.
    let epochs = epochs::begin(transaction, number, 0).await?;
    let project = StoredProject { number, id: id.clone(), feed, flushed_pos: number.pos(0) };
    Ok((project, History::new(feed, epochs)))
}
