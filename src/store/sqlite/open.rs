//! Opens a store: one owner, one schema, and the writer's in-memory state read from the file.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Connection, SqliteConnection};

use crate::domain::{FeedId, Result};
use crate::store::CommitListener;
use crate::store::commit::queue::Queue;
use crate::store::tasks::{RunningCommitter, Tasks};

use super::connect::{connect_options, maintenance_options};
use super::index::id_index::Ids;
use super::index::unindexed_tail::UnindexedTail;
use super::keys::{SqliteKeys, Writes};
use super::lock::FileLock;
use super::maintenance::checkpointer::Checkpointer;
use super::maintenance::wal_preallocator::WalPreallocator;
use super::recovery::RecoveredState;
use super::schema::{self, OpenError, damaged, describe};
use super::store_row::StoreRow;
use super::watch::{self, FileWatch};
use super::write::committer::Committer;
use super::write::planner::Planner;
use super::write::writer::Writer;
use super::{SqliteOptions, SqliteStore, epochs};

/// Rows that a reader's connection fetches ahead: half of one read of a replay, so that neither side waits for the
/// other row by row. A row may have 1 MiB, and most pages end early.
const ROWS_AHEAD: usize = 16;

impl SqliteStore {
    /// Opens the store and starts its committer. Creates the file if missing. `listener` is called after every commit.
    pub async fn open(options: SqliteOptions, listener: Arc<dyn CommitListener>) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let lock = Arc::new(FileLock::acquire(&path)?);
        let connect = connect_options(&path);
        let mut writer = SqliteConnection::connect_with(&connect).await.map_err(|e| describe(&path, e))?;
        schema::check_owner(&path, &mut writer).await?;
        schema::use_wal(&path, &mut writer).await?;
        schema::migrate(&path, &mut writer).await?;
        let feed_id = StoreRow::read(&mut writer).await.map_err(|e| damaged(&path, e))?.feed_id;
        let memory = RecoveredState::load(&mut writer).await.map_err(|e| damaged(&path, e))?;
        let feed = FeedId(u32::try_from(feed_id).unwrap_or_default());
        let history = epochs::begin(&mut writer, feed, memory.last_position).await.map_err(|e| damaged(&path, e))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.read_connections)
            // The pool tests connections on release; nothing happens to an idle connection.
            .test_before_acquire(false)
            .connect_with(connect.clone().pragma("query_only", "ON").row_buffer_size(ROWS_AHEAD))
            .await
            .map_err(|e| describe(&path, e))?;
        #[cfg(feature = "failpoints")]
        crate::store::failpoints::hook_commits(&mut writer).await.map_err(|e| describe(&path, e))?;
        let (tail, ids) = (Arc::<UnindexedTail>::default(), Arc::<Ids>::default());
        let (run_states, maintenance) = memory.install(&tail, &ids, &options);
        let options_behind = maintenance_options(&connect);
        let connect_behind =
            async || SqliteConnection::connect_with(&options_behind).await.map_err(|e| describe(&path, e));
        let maintenance_connection = connect_behind().await?;
        let checkpoints = Checkpointer::start(connect_behind().await?).await.map_err(|e| describe(&path, e))?;
        let tasks = Tasks::default();
        let watch = Arc::new(FileWatch::new(&path)?);
        let watching = watch::run(Arc::clone(&watch), Arc::clone(&lock), checkpoints.requests());
        let keys = SqliteKeys {
            readers: readers.clone(),
            watch: Arc::clone(&watch),
            writes: tokio::sync::Mutex::new(Some(Writes {
                connect: connect.clone().create_if_missing(false),
                checkpoints: checkpoints.requests(),
            })),
        };
        let (queue, waiting) = Queue::new(options.queue.clone());
        let planner = Planner::new(options.lifecycle, run_states, Arc::clone(&tail), Arc::clone(&ids));
        let writer = Writer {
            options,
            connect,
            connection: writer,
            maintenance_connection,
            checkpoints,
            growth: WalPreallocator::of(&path),
            listener,
            tail: Arc::clone(&tail),
            ids: Arc::clone(&ids),
            maintenance,
            stale: false,
            watch: Arc::clone(&watch),
            watching: tasks.spawn(watching),
            _lock: Arc::clone(&lock),
        };
        let committer = Committer { planner, writer };
        let committer = tasks.spawn(committer.run(waiting));
        Ok(Self {
            queue,
            tasks,
            readers,
            keys,
            tail,
            ids,
            watch,
            lock: Mutex::new(Some(lock)),
            history: Arc::new(history),
            committer: RunningCommitter::new(committer),
        })
    }
}
