//! Where a store comes from. Another kind of store is another [`Backend`] and a line in `main.rs`.

use std::sync::Arc;

use runlog::domain::projection::Lifecycle;
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::store::{CommitListener, SharedStore};
use tempfile::TempDir;

use crate::ops::Setup;

/// Keeps the data of one case while stores over it come and go.
pub trait Backend: Sized {
    /// With no data yet.
    async fn new() -> Self;

    /// Opens the store over the data that is there.
    async fn open(&self, setup: &Setup, listener: Arc<dyn CommitListener>) -> SharedStore;

    /// From now on the data is what a power loss at this moment would leave. The open store is closed afterwards.
    async fn lose_power(&mut self) {}
}

/// A SQLite file in a directory of its own.
pub struct SqliteFiles {
    directory: TempDir,
    generation: u32,
}

impl SqliteFiles {
    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join(format!("{}.db", self.generation))
    }
}

impl Backend for SqliteFiles {
    async fn new() -> Self {
        Self { directory: TempDir::new().unwrap(), generation: 0 }
    }

    async fn open(&self, setup: &Setup, listener: Arc<dyn CommitListener>) -> SharedStore {
        let options = SqliteOptions {
            lifecycle: if setup.strict { Lifecycle::Strict } else { Lifecycle::Record },
            max_commit_events: setup.commit_events,
            max_unsealed_entries: setup.unsealed_entries,
            read_connections: setup.read_connections,
            ..SqliteOptions::new(self.path())
        };
        Arc::new(SqliteStore::open(options, listener).await.expect("the data opens again"))
    }

    /// Copies the database and its write-ahead log, in this order: what the log has more is replayed.
    async fn lose_power(&mut self) {
        let before = self.path();
        self.generation += 1;
        std::fs::copy(&before, self.path()).unwrap();
        let wal = |path: &std::path::Path| std::path::PathBuf::from(format!("{}-wal", path.display()));
        if wal(&before).exists() {
            std::fs::copy(wal(&before), wal(&self.path())).unwrap();
        }
    }
}
