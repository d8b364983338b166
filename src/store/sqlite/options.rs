//! Options of a store in a SQLite file.

use crate::domain::projection::Lifecycle;
use crate::store::QueueOptions;

/// Options of a SQLite store. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file; created if missing.
    pub path: std::path::PathBuf,
    /// Whether events after the end of a run are stored or refused.
    pub lifecycle: Lifecycle,
    /// Limits of the commit queue and of one commit.
    pub queue: QueueOptions,
    /// Most connections of the readers' pool.
    pub read_connections: u32,
    /// Entries of the unindexed tail from which a flush is due.
    pub max_unflushed_entries: usize,
    /// Most entries that one slice of a flush moves between two commits.
    pub slice_entries: usize,
    /// Whether the store checkpoints the write-ahead log; `false`: another program does.
    pub checkpoints: bool,
}

impl SqliteOptions {
    /// Default options for the database file at `path`.
    #[must_use]
    pub fn new(path: impl Into<std::path::PathBuf>) -> Self {
        Self {
            path: path.into(),
            lifecycle: Lifecycle::Record,
            queue: QueueOptions::default(),
            read_connections: 4,
            max_unflushed_entries: 16_384,
            slice_entries: 512,
            checkpoints: true,
        }
    }
}
