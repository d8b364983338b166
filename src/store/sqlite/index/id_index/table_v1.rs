//! The id table of the first schema, sorted by hash.

use sqlx::SqliteConnection;

use super::block::Place;
use crate::store::sqlite::error::StepError;

/// A row of the table.
#[derive(sqlx::FromRow)]
struct PlaceRow {
    hash: i64,
    run: i64,
    seq: i64,
}

/// The places with hashes from `low` to `high`, sorted. The table stores hashes as signed integers.
pub async fn between(transaction: &mut SqliteConnection, low: u64, high: u64) -> Result<Vec<Place>, StepError> {
    const HIGHEST: u64 = i64::MAX.cast_unsigned();
    let mut places = Vec::new();
    for (low, high) in [(low, high.min(HIGHEST)), (low.max(HIGHEST + 1), high)] {
        if low > high {
            continue;
        }
        let rows: Vec<PlaceRow> = sqlx::query_as(
            "SELECT hash, run, seq FROM event_ids_to_move WHERE hash >= ? AND hash <= ? ORDER BY hash, run, seq",
        )
        .bind(low.cast_signed())
        .bind(high.cast_signed())
        .fetch_all(&mut *transaction)
        .await?;
        let place = |row: PlaceRow| Place { hash: row.hash.cast_unsigned(), run: row.run, seq: row.seq.unsigned_abs() };
        places.extend(rows.into_iter().map(place));
    }
    Ok(places)
}
