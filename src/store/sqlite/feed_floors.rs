//! Where the feeds of the projects begin: the table `feed_floors`.

use sqlx::SqliteConnection;

use crate::domain::{Error, Result};
use crate::store::ProjectNumber;
use crate::store::checksum::Checksum;
use crate::store::project::position_of;

use super::error::from_sqlx;

/// A row of `feed_floors`; the migrations describe its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FeedFloor {
    project: i64,
    pub first_pos: i64,
    pub counted_pos: i64,
    pub bytes: i64,
    #[sqlx(default)]
    checksum: i64,
}

const ALL: &str = "SELECT project, first_pos, counted_pos, bytes, checksum FROM feed_floors";
const ONE: &str = "SELECT project, first_pos, counted_pos, bytes, checksum FROM feed_floors WHERE project = ?";

impl FeedFloor {
    /// The floor of a project that retention has not worked on.
    pub fn new(project: ProjectNumber) -> Self {
        let before = project.pos(0).cast_signed();
        Self { project: project.number(), first_pos: before + 1, counted_pos: before, bytes: 0, checksum: 0 }
    }

    /// Position in the feed of the first event of the feed.
    pub fn first(&self) -> u64 {
        position_of(self.first_pos.unsigned_abs())
    }

    /// Subtracts the bytes by which the row at this stored position gets shorter, if the row is counted.
    pub fn shorten(&mut self, pos: u64, bytes: i64) {
        if pos.cast_signed() <= self.counted_pos {
            self.bytes -= bytes;
        }
    }

    /// The project; `None` for an impossible number.
    pub fn project(&self) -> Option<ProjectNumber> {
        ProjectNumber::of(self.project)
    }

    fn sum(&self) -> i64 {
        let Self { project, first_pos, counted_pos, bytes, .. } = *self;
        Checksum::default().number(project).number(first_pos).number(counted_pos).number(bytes).finish()
    }

    fn sound(self) -> Result<Self> {
        if self.checksum == self.sum() {
            return Ok(Self { checksum: 0, ..self });
        }
        tracing::error!(project = self.project, "damaged: the row of the first position of a feed");
        Err(Error::StoreDamaged)
    }

    /// Writes the row in the caller's transaction.
    pub async fn write(&self, transaction: &mut SqliteConnection) -> sqlx::Result<()> {
        const WRITE: &str = "INSERT OR REPLACE INTO feed_floors (project, first_pos, counted_pos, bytes, checksum) \
            VALUES (?, ?, ?, ?, ?)";
        let write = sqlx::query(WRITE).bind(self.project).bind(self.first_pos).bind(self.counted_pos);
        write.bind(self.bytes).bind(self.sum()).execute(transaction).await.map(drop)
    }
}

/// The floors of all projects that have one.
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<FeedFloor>> {
    let rows: Vec<FeedFloor> = sqlx::query_as(ALL).fetch_all(connection).await.map_err(from_sqlx)?;
    rows.into_iter().map(FeedFloor::sound).collect()
}

/// The floor of a project.
pub async fn of(connection: &mut SqliteConnection, project: ProjectNumber) -> Result<FeedFloor> {
    let row: Option<FeedFloor> =
        sqlx::query_as(ONE).bind(project.number()).fetch_optional(connection).await.map_err(from_sqlx)?;
    row.map_or_else(|| Ok(FeedFloor::new(project)), FeedFloor::sound)
}
