//! Bytes of the rows of a project, counted once: afterwards each removal subtracts, and only new rows are counted.

use sqlx::SqliteConnection;

use crate::domain::Result;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::feed_floors::FeedFloor;

/// Most rows counted by one slice.
const ROWS: i64 = 4_096;

/// Sums over the next rows.
#[derive(sqlx::FromRow)]
struct Counted {
    rows: i64,
    last: Option<i64>,
    bytes: Option<i64>,
}

/// Counts the next rows up to this stored position. Returns whether all are counted.
pub async fn count(connection: &mut SqliteConnection, floor: &mut FeedFloor, last_pos: u64) -> Result<bool> {
    // The length of a value is known without reading the value.
    const NEXT: &str = "SELECT count(*) AS rows, max(pos) AS last, sum(bytes) AS bytes FROM \
        (SELECT pos, length(data) AS bytes FROM log WHERE pos > ? AND pos <= ? ORDER BY pos LIMIT ?)";
    let next = sqlx::query_as(NEXT).bind(floor.counted_pos).bind(last_pos.cast_signed()).bind(ROWS);
    let Counted { rows, last, bytes } = next.fetch_one(connection).await.map_err(from_sqlx)?;
    floor.counted_pos = last.unwrap_or(floor.counted_pos);
    floor.bytes += bytes.unwrap_or(0);
    Ok(rows < ROWS)
}
