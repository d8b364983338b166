//! A SQLite store in a scratch directory.

use std::sync::Arc;

use runlog::service::live::hub::{Hub, WindowLimits};
use runlog::store::SharedStore;
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A scratch directory, removed when dropped. The directory lies under `target/`, since the system's temporary
/// directory may be in memory.
pub struct Scratch {
    pub store: SharedStore,
    pub hub: Arc<Hub>,
    _directory: TempDir,
}

impl Scratch {
    pub fn new(runtime: &Runtime) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let hub = Arc::new(Hub::new(WindowLimits::default()));
        let options = SqliteOptions::new(directory.path().join("log.db"));
        let store = Arc::new(runtime.block_on(SqliteStore::open(options, hub.clone())).unwrap());
        Self { store, hub, _directory: directory }
    }
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}
