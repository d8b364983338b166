//! Runs that the index of ids does not have: new ones, or those whose entry is damaged.

use sqlx::SqliteExecutor;

use crate::domain::{Error, Result};
use crate::store::RunKey;
use crate::store::sqlite::error::from_sqlx;

/// The error for a run that was not found: `RunNotFound`, unless damage may hide the run.
pub async fn not_found(reader: impl SqliteExecutor<'_>, key: &RunKey) -> Error {
    let ids = serde_json::to_string(&[key.stored()]).unwrap_or_default();
    match check(reader, &ids).await {
        Ok(()) => Error::RunNotFound { run_id: key.run_id.to_string() },
        Err(error) => error,
    }
}

/// Fails if one of these ids may be missing in the index of ids because of damage. `ids` is a JSON array. An id that was changed by
/// damage still lies where a search for the true one ends, so the ids before and after that place are compared with their rows.
pub async fn check(reader: impl SqliteExecutor<'_>, ids: &str) -> Result<()> {
    // `near` is read from the index alone, `stored` from the row.
    const DAMAGED: &str = "SELECT count(*) FROM (SELECT value AS id FROM json_each(?)) WHERE NOT coalesce( \
           (SELECT near.run_id IS (SELECT run_id FROM runs AS stored NOT INDEXED WHERE stored.run = near.run) \
            FROM runs AS near WHERE near.run_id < id ORDER BY near.run_id DESC LIMIT 1), TRUE) \
         OR NOT coalesce( \
           (SELECT near.run_id IS (SELECT run_id FROM runs AS stored NOT INDEXED WHERE stored.run = near.run) \
            FROM runs AS near WHERE near.run_id > id ORDER BY near.run_id LIMIT 1), TRUE)";
    let damaged: i64 = sqlx::query_scalar(DAMAGED).bind(ids).fetch_one(reader).await.map_err(from_sqlx)?;
    if damaged > 0 {
        tracing::error!("damaged: the index of the ids of runs and the rows of runs do not agree");
        return Err(Error::StoreDamaged);
    }
    Ok(())
}
