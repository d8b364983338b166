//! Finds and creates projects. A known project is found in memory; another replica may have created it meanwhile, so any other
//! is looked for in the database.

use sqlx::PgConnection;

use super::connect::executor::PgExecutor;
use super::connect::readers::{Readers, retried, written};
use super::epochs::lineage;
use super::error::Fault;
use super::feed_row::{FeedRow, feed_columns, id_of};
use super::known_projects::Project;
use crate::domain::history::Epoch;
use crate::domain::{Error, ProjectId, Result};
use crate::store::ProjectNumber;
use crate::store::history::{begin_epoch, random_id};
use crate::store::project::too_many_projects;

/// Key of the advisory lock held while a project is created.
const CREATION_LOCK: i64 = 0x0072_756e_6c6f_6770;

/// Number of the project with this id.
pub async fn find(readers: &Readers, id: &ProjectId) -> Result<Option<ProjectNumber>> {
    let current = &readers.epochs.current;
    loop {
        if let Some(number) = current.number(id) {
            return Ok(Some(number));
        }
        let generation = current.generation();
        let found = retried!(readers, connection => stored(connection, id)).map_err(Fault::into_error)?;
        let Some(project) = found else { return Ok(None) };
        let number = project.number;
        if current.insert(generation, project) {
            return Ok(Some(number));
        }
    }
}

/// Creates a project unless it exists.
pub async fn create(readers: &Readers, id: &ProjectId) -> Result<ProjectNumber> {
    loop {
        if let Some(number) = find(readers, id).await? {
            return Ok(number);
        }
        let generation = readers.epochs.current.generation();
        let project: Project = written!(readers, connection => created(connection, id))?;
        let number = project.number;
        if readers.epochs.current.insert(generation, project) {
            return Ok(number);
        }
    }
}

async fn stored(connection: &mut PgExecutor<'_>, id: &ProjectId) -> Result<Option<Project>, Fault> {
    const FEED: &str = concat!("SELECT ", feed_columns!(), " FROM feed WHERE project = $1");
    let feed: Option<FeedRow> = sqlx::query_as(FEED).bind(id.as_str()).fetch_optional(&mut *connection).await?;
    let Some(feed) = feed else { return Ok(None) };
    const EPOCHS: &str = "SELECT id, start FROM project_epochs WHERE project = $1 ORDER BY start";
    let number = feed.number().map(ProjectNumber::number);
    let rows: Vec<(i64, i64)> = sqlx::query_as(EPOCHS).bind(number).fetch_all(connection).await?;
    let epoch = |(id, start): (i64, i64)| Epoch { id: u32::try_from(id).unwrap_or(0), start: start.unsigned_abs() };
    let project = feed.project(rows.into_iter().map(epoch).collect());
    Ok(Some(project.ok_or(Error::StoreDamaged)?))
}

/// Creates the project in the caller's transaction: its feed, the numbers of its runs, and its first epoch.
async fn created(connection: &mut PgConnection, id: &ProjectId) -> Result<Project, Fault> {
    let mut executor = PgExecutor::pooled(connection);
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(CREATION_LOCK).execute(&mut executor).await?;
    // Created by another replica, or by an attempt before whose answer was lost.
    if let Some(project) = stored(&mut executor, id).await? {
        return Ok(project);
    }
    let used: Vec<i64> = sqlx::query_scalar("SELECT id::bigint - 1 FROM feed").fetch_all(&mut executor).await?;
    let number = ProjectNumber::unused(&used).ok_or_else(too_many_projects)?;
    const FEED: &str = concat!("INSERT INTO feed (", feed_columns!(), ") VALUES ($1, $2, $3, $4)");
    let feed = sqlx::query(FEED).bind(id_of(number)).bind(id.as_str()).bind(i64::from(random_id()));
    feed.bind(number.pos(0).cast_signed()).execute(&mut executor).await?;
    let numbers = format!("CREATE SEQUENCE run_numbers_{number} AS bigint MAXVALUE {}", ProjectNumber::MAX_RUNS);
    sqlx::query(sqlx::AssertSqlSafe(numbers)).execute(&mut executor).await?;
    // The random id makes a project that is created again, in an older copy of the database, another one.
    let epoch = begin_epoch(0);
    const EPOCH: &str =
        concat!("INSERT INTO project_epochs (project, start, id, lineage) SELECT $1, 0, $2, ", lineage!());
    sqlx::query(EPOCH).bind(number.number()).bind(i64::from(epoch.id)).execute(&mut executor).await?;
    stored(&mut executor, id).await?.ok_or_else(|| Error::internal("a project that was created is not there").into())
}
