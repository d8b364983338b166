//! Both ends of a run: the first event that is kept, and the last one.

use sqlx::SqliteConnection;

use super::absence::not_found;
use crate::domain::{Error, Result, RunStatus};
use crate::store::run_row::checksums;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::index::unindexed_tail::UnindexedTail;
use crate::store::{RunKey, ScopeEnd};

/// The columns of `runs` that give both ends of a run, with their checksums.
#[derive(sqlx::FromRow)]
struct EndRow {
    run: i64,
    status: i64,
    last_seq: i64,
    updated_at: String,
    end_checksum: Option<i64>,
    first_seq: i64,
    held: bool,
    kept_checksum: Option<i64>,
}

impl EndRow {
    fn is_sound(&self) -> bool {
        let Self { run, status, last_seq, ref updated_at, first_seq, held, .. } = *self;
        self.end_checksum.is_none_or(|checksum| checksum == checksums::of_end(run, status, last_seq, updated_at))
            && self.kept_checksum.is_none_or(|checksum| checksum == checksums::of_kept(run, first_seq, held))
    }
}

/// A run as a scope.
pub struct RunScope {
    /// Number of the run.
    pub run: i64,
    /// Seq of the first event that is kept.
    pub first: u64,
    pub end: ScopeEnd,
}

/// The run with both ends of its scope.
pub async fn of(reader: &mut SqliteConnection, tail: &UnindexedTail, key: &RunKey) -> Result<RunScope> {
    loop {
        let generation = tail.generation();
        const SCOPE: &str = "SELECT run, status, last_seq, updated_at, end_checksum, first_seq, held, kept_checksum FROM runs WHERE run_id = ?";
        let row: Option<EndRow> =
            sqlx::query_as(SCOPE).bind(key.stored()).fetch_optional(&mut *reader).await.map_err(from_sqlx)?;
        let Some(row) = row else { return Err(not_found(&mut *reader, key).await) };
        if !row.is_sound() {
            tracing::error!(run = key.run_id.as_str(), "damaged: a row of the table `runs`");
            return Err(Error::StoreDamaged);
        }
        let EndRow { run, status, last_seq, first_seq, .. } = row;
        let status = RunStatus::from_number(status).ok_or(Error::StoreDamaged)?;
        // Row before tail: a final status never comes with an end before the event that set the status.
        let (in_row, end) = (last_seq.unsigned_abs(), tail.end(run));
        let last = end.map_or(0, |end| end.last_seq).max(in_row);
        if tail.generation() == generation && end.is_none_or(|end| end.row_seq <= in_row) {
            return Ok(RunScope { run, first: first_seq.unsigned_abs(), end: ScopeEnd { last, status } });
        }
    }
}
