//! Where a store comes from. Another kind of store is another [`Backend`] and a line in `main.rs`.

use std::sync::Arc;
use std::time::Duration;

use runlog::domain::projection::Lifecycle;
use runlog::store::postgres::{PostgresOptions, PostgresStore};
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::store::{CommitListener, QueueOptions, SharedStore};
use tempfile::TempDir;

use crate::cluster::{self, Database};
use crate::faults::Loss;
use crate::ops::Setup;
use crate::proxy::{AtCommit, Proxy};

/// Keeps the data of one case while stores over it come and go.
pub trait Backend: Sized {
    /// Most cases: a store that takes longer gets fewer.
    const CASES: u32 = 400;

    /// Whether this kind of store is on this machine; that it is not has been said.
    fn is_here() -> bool {
        true
    }

    /// With no data yet.
    async fn new() -> Self;

    /// Opens the store over the data that is there.
    async fn open(&self, setup: &Setup, listener: Arc<dyn CommitListener>) -> SharedStore;

    /// The answer to the next commit is lost, and the commit too where the loss says so. False: this kind of store has no way
    /// on which it could be lost so.
    fn lose_next(&self, _: Loss) -> bool {
        false
    }

    /// Nothing is lost any more.
    fn lose_nothing(&self) {}

    /// From now on the data is what a power loss at this moment would leave. The open store is closed afterwards.
    async fn lose_power(&mut self) {}
}

fn lifecycle(setup: &Setup) -> Lifecycle {
    if setup.strict { Lifecycle::Strict } else { Lifecycle::Record }
}

fn queue(setup: &Setup) -> QueueOptions {
    QueueOptions { max_commit_events: setup.commit_events, ..QueueOptions::default() }
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
            lifecycle: lifecycle(setup),
            queue: queue(setup),
            max_unflushed_entries: setup.unsealed_entries,
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

/// A PostgreSQL schema of its own, behind a proxy that loses commits. What a lost replica or server leaves is the matter of `tests/replicas`.
pub struct PostgresSchema {
    database: Database,
    proxy: Proxy,
}

impl Backend for PostgresSchema {
    const CASES: u32 = 80;

    fn is_here() -> bool {
        cluster::shared().is_some()
    }

    async fn new() -> Self {
        let database = Database::create_schema().await.unwrap();
        let proxy = Proxy::start(database.cluster().port()).await;
        Self { database, proxy }
    }

    async fn open(&self, setup: &Setup, listener: Arc<dyn CommitListener>) -> SharedStore {
        let options = PostgresOptions {
            lifecycle: lifecycle(setup),
            queue: queue(setup),
            pool_size: setup.read_connections,
            // What is lost stays unknown, and this replica hears of it as of the commits of others.
            retry: Duration::ZERO,
            poll: Duration::from_millis(50),
            ..PostgresOptions::new(self.database.tcp_url("postgres", self.proxy.port))
        };
        Arc::new(PostgresStore::open(options, listener).await.expect("the data opens again"))
    }

    fn lose_next(&self, loss: Loss) -> bool {
        match loss {
            Loss::Answer => self.proxy.at_commit(AtCommit::LoseAnswer),
            Loss::Commit => self.proxy.at_commit(AtCommit::LoseCommit),
            // The locks of a transaction that waits for its COMMIT would make everybody wait.
            Loss::Delay => return false,
        }
        true
    }

    fn lose_nothing(&self) {
        self.proxy.at_commit(AtCommit::Nothing);
    }
}
