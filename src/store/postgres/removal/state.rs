//! The state of a feed's removals, under the lock of the project.

use sqlx::postgres::PgQueryResult;

use crate::store::ProjectNumber;
use crate::store::postgres::connect::executor::PgExecutor;
use crate::store::postgres::error::Fault;
use crate::store::postgres::feed_row;
use crate::store::project::position_of;

/// The advisory lock of a project: these bits, and the random id of its feed.
const LOCK: i64 = 0x0072_756e_0000_0000;

/// Events counted by one statement.
const COUNTED_AT_ONCE: u64 = 65_536;

/// A row of `feed`, with its row of `feed_retention`. Positions are those of the project.
#[derive(Clone, Debug)]
pub struct State {
    project: ProjectNumber,
    /// Last position of the feed.
    pub last: u64,
    /// First kept position of the feed.
    pub first: u64,
    pub removals: u64,
    /// Position up to which `bytes` counts.
    pub counted: u64,
    /// Bytes of the stored events.
    pub bytes: i64,
    /// Number of releases of runs.
    pub releases: u64,
}

#[derive(sqlx::FromRow)]
struct StateRow {
    last_pos: i64,
    first_pos: Option<i64>,
    removals: Option<i64>,
    counted_pos: Option<i64>,
    bytes: Option<i64>,
    releases: Option<i64>,
}

/// Locks the removals of a project until the end of the transaction.
pub async fn lock(connection: &mut PgExecutor<'_>, project: ProjectNumber) -> Result<(), Fault> {
    const WAIT: &str = "SELECT pg_advisory_xact_lock($2 | feed_id) FROM feed WHERE id = $1";
    sqlx::query(WAIT).bind(feed_row::id_of(project)).bind(LOCK).fetch_optional(connection).await?;
    Ok(())
}

/// Locks the removals of a project unless another replica has locked them. The transaction need not reach the disk: a retention
/// that is lost with the server's memory is repeated.
pub async fn try_lock(connection: &mut PgExecutor<'_>, project: ProjectNumber) -> Result<bool, Fault> {
    const TRY: &str = "SELECT set_config('synchronous_commit', 'off', true) IS NOT NULL \
        AND pg_try_advisory_xact_lock($2 | feed_id) FROM feed WHERE id = $1";
    let locked: Option<bool> =
        sqlx::query_scalar(TRY).bind(feed_row::id_of(project)).bind(LOCK).fetch_optional(connection).await?;
    Ok(locked.unwrap_or_default())
}

impl State {
    /// Reads the state, for a change under the lock.
    pub async fn read(connection: &mut PgExecutor<'_>, project: ProjectNumber) -> Result<Self, Fault> {
        const READ: &str = "SELECT f.last_pos, k.first_pos, k.removals, k.counted_pos, k.bytes, k.releases \
            FROM feed f LEFT JOIN feed_retention k ON k.id = f.id WHERE f.id = $1";
        let row: StateRow = sqlx::query_as(READ).bind(feed_row::id_of(project)).fetch_one(connection).await?;
        let position = |pos: i64| position_of(pos.unsigned_abs());
        Ok(Self {
            project,
            last: position(row.last_pos),
            first: row.first_pos.map_or(1, position),
            removals: row.removals.unwrap_or_default().unsigned_abs(),
            counted: row.counted_pos.map_or(0, position),
            bytes: row.bytes.unwrap_or_default(),
            releases: row.releases.unwrap_or_default().unsigned_abs(),
        })
    }

    /// Counts the bytes of the next events. Later calls count the rest.
    pub async fn count(&mut self, connection: &mut PgExecutor<'_>) -> Result<(), Fault> {
        const SUM: &str = "SELECT coalesce(sum(bytes), 0)::bigint FROM events WHERE pos > $1 AND pos <= $2";
        let to = self.last.min(self.counted.saturating_add(COUNTED_AT_ONCE));
        let [from, until] = [self.counted, to].map(|position| self.project.pos(position).cast_signed());
        let bytes: i64 = sqlx::query_scalar(SUM).bind(from).bind(until).fetch_one(connection).await?;
        (self.counted, self.bytes) = (to, self.bytes.saturating_add(bytes));
        Ok(())
    }

    /// Takes bytes of the event at this stored position out of the count, if it is counted.
    pub fn uncount(&mut self, pos: i64, bytes: i64) {
        if position_of(pos.unsigned_abs()) <= self.counted {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Writes the state.
    pub async fn write(&self, connection: &mut PgExecutor<'_>) -> Result<PgQueryResult, Fault> {
        const WRITE: &str = "INSERT INTO feed_retention (id, first_pos, removals, counted_pos, bytes, releases) \
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET first_pos = excluded.first_pos, \
            removals = excluded.removals, counted_pos = excluded.counted_pos, bytes = excluded.bytes, \
            releases = excluded.releases";
        let pos = |position| self.project.pos(position).cast_signed();
        let write = sqlx::query(WRITE).bind(feed_row::id_of(self.project)).bind(pos(self.first));
        let write = write.bind(self.removals.cast_signed()).bind(pos(self.counted)).bind(self.bytes);
        Ok(write.bind(self.releases.cast_signed()).execute(connection).await?)
    }
}
