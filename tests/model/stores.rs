//! The stores under test. A further store takes a [`Backend`] and a line in `main.rs`.

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

/// The data of one case, across restarts of the store.
pub trait Backend: Sized {
    /// Number of cases; slower stores run fewer cases.
    const CASES: u32 = 400;

    /// Whether this kind of store is available on the machine; SKIPPED is printed otherwise.
    fn is_here() -> bool {
        true
    }

    /// Creates an empty data directory or schema.
    async fn new() -> Self;

    /// Opens the store over the existing data.
    async fn open(&self, setup: &Setup, listener: Arc<dyn CommitListener>) -> SharedStore;

    /// Loses the answer to the next commit, and the commit as well for [`Loss::Commit`]. False: the store has no
    /// network connection to lose.
    fn lose_next(&self, _: Loss) -> bool {
        false
    }

    /// Ends the loss of answers.
    fn lose_nothing(&self) {}

    /// Replaces the data by a copy as after a power loss at this moment. The open store is closed afterwards.
    async fn lose_power(&mut self) {}
}

fn lifecycle(setup: &Setup) -> Lifecycle {
    if setup.strict { Lifecycle::Strict } else { Lifecycle::Record }
}

fn queue(setup: &Setup) -> QueueOptions {
    QueueOptions { max_commit_events: setup.commit_events, ..QueueOptions::default() }
}

/// A SQLite file in its own directory.
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
            max_unflushed_entries: setup.unflushed_entries,
            read_connections: setup.read_connections,
            ..SqliteOptions::new(self.path())
        };
        Arc::new(SqliteStore::open(options, listener).await.expect("the data opens again"))
    }

    /// Copies the database and then its write-ahead log: frames of the log beyond the database are replayed.
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

/// A PostgreSQL schema behind a proxy that loses commits. `tests/replicas` covers lost replicas and servers.
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
            // In-doubt commits stay unresolved, and this replica learns of them like of other replicas' commits.
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
            // A delayed commit keeps its locks and would block all others.
            Loss::Delay => return false,
        }
        true
    }

    fn lose_nothing(&self) {
        self.proxy.at_commit(AtCommit::Nothing);
    }
}
