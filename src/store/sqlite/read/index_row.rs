//! Rows of the index by run and seq.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::view_flag::ViewFlag;
use crate::store::commit::row_builder::RunSpan;

/// Columns of every read of `run_index`.
macro_rules! index_columns {
    () => {
        "seq, count, pos, start, length, sensitive"
    };
}
pub(super) use index_columns;

/// A row of `run_index` without the run, read with `index_columns!`.
pub struct IndexRow {
    pub seq: i64,
    pub count: i64,
    pub pos: i64,
    pub start: i64,
    pub length: i64,
    pub sensitive: ViewFlag,
}

impl FromRow<'_, SqliteRow> for IndexRow {
    /// Reads by index, since a search of each column by its name costs time in every row.
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            seq: row.try_get(0)?,
            count: row.try_get(1)?,
            pos: row.try_get(2)?,
            start: row.try_get(3)?,
            length: row.try_get(4)?,
            sensitive: row.try_get(5)?,
        })
    }
}

impl IndexRow {
    /// The entry; `None` for impossible numbers.
    pub fn into_entry(self) -> Option<RunSpan> {
        let narrow = |n: i64| u32::try_from(n).ok();
        let (count, start, length) = (narrow(self.count)?, narrow(self.start)?, narrow(self.length)?);
        let (seq, row) = (u64::try_from(self.seq).ok()?, u64::try_from(self.pos).ok()?);
        let sensitive = self.sensitive.is_sensitive();
        (seq > 0 && count > 0).then_some(RunSpan { seq, count, row, start, length, sensitive })
    }
}
