//! Opens a store: one owner, one schema, and the writer's in-memory state read from the file.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Connection, SqliteConnection};

use crate::domain::Result;
use crate::domain::history::History;
use crate::store::commit::queue::Queue;
use crate::store::project::position_of;
use crate::store::tasks::{RunningCommitter, Tasks};
use crate::store::{CommitListener, ProjectNumber};

use super::backup::{Backups, remove_leftover};
use super::connect::{connect_options, maintenance_options};
use super::error::from_sqlx;
use super::index::id_index::Ids;
use super::index::unindexed_tail::UnindexedTail;
use super::keys::SqliteKeys;
use super::lock::FileLock;
use super::maintenance::checkpointer::Checkpointer;
use super::maintenance::flush_requests::FlushRequests;
use super::maintenance::log_hold::LogHold;
use super::maintenance::wal_preallocator::{LogLength, WalPreallocator};
use super::projects::{self, Projects};
use super::rare_writes::{RareWrites, Writes};
use super::recovery::RecoveredState;
use super::retention::{Open, Removals};
use super::rewrites::Rewrites;
use super::schema::{self, OpenError, damaged, describe};
use super::watch::{self, FileWatch};
use super::write::committer::Committer;
use super::write::planner::Planner;
use super::write::writer::Writer;
use super::{Shared, SqliteOptions, SqliteStore, epochs, feed_floors};

/// Rows that a reader's connection fetches ahead: half of one read of a replay, so that neither side waits for the
/// other row by row. A row may have 1 MiB, and most pages end early.
const ROWS_AHEAD: usize = 16;

impl SqliteStore {
    /// Opens the store and starts its committer. Creates the file if missing. `listener` is called after every commit.
    pub async fn open(options: SqliteOptions, listener: Arc<dyn CommitListener>) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let lock = Arc::new(FileLock::acquire(&path)?);
        remove_leftover(&path);
        let connect = connect_options(&path);
        let mut writer = SqliteConnection::connect_with(&connect).await.map_err(|e| describe(&path, e))?;
        schema::check_owner(&path, &mut writer).await?;
        schema::use_wal(&path, &mut writer).await?;
        schema::migrate(&path, &mut writer).await?;
        let memory = RecoveredState::load(&mut writer).await.map_err(|e| damaged(&path, e))?;
        let projects = begin_epochs(&mut writer, &memory).await.map_err(|e| damaged(&path, e))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.read_connections)
            // The pool tests connections on release; nothing happens to an idle connection.
            .test_before_acquire(false)
            .connect_with(connect.clone().pragma("query_only", "ON").row_buffer_size(ROWS_AHEAD))
            .await
            .map_err(|e| describe(&path, e))?;
        #[cfg(feature = "failpoints")]
        crate::store::failpoints::hook_commits(&mut writer).await.map_err(|e| describe(&path, e))?;
        let floors = feed_floors::all(&mut writer).await.map_err(|e| damaged(&path, e))?;
        let (tail, ids) = (Arc::<UnindexedTail>::default(), Arc::<Ids>::default());
        let (rewrites, flush_requests) = (Arc::new(Rewrites::new(floors)), Arc::<FlushRequests>::default());
        let (run_states, maintenance) = memory.install(&tail, &ids, &options);
        let options_behind = maintenance_options(&connect);
        let connect_behind =
            async || SqliteConnection::connect_with(&options_behind).await.map_err(|e| describe(&path, e));
        let maintenance_connection = connect_behind().await?;
        let hold = LogHold::default();
        let checkpoints = Checkpointer::start(connect_behind().await?, options.checkpoints, hold.clone());
        let checkpoints = checkpoints.await.map_err(|e| describe(&path, e))?;
        let tasks = Tasks::default();
        let watch = Arc::new(FileWatch::new(&path)?);
        let watching = watch::run(Arc::clone(&watch), Arc::clone(&lock), checkpoints.requests());
        let writes = Writes { connect: connect.clone().create_if_missing(false), checkpoints: checkpoints.requests() };
        let writes = Arc::new(RareWrites { watch: Arc::clone(&watch), open: tokio::sync::Mutex::new(Some(writes)) });
        let backups = Backups::new(&path, &connect, options.checkpoints, Arc::clone(&watch), hold);
        let keys = SqliteKeys { readers: readers.clone(), writes: Arc::clone(&writes) };
        let log_length = LogLength::default();
        let removals = Open {
            connect: connect.clone().create_if_missing(false),
            checkpoints: checkpoints.requests(),
            has_log: options.checkpoints,
            log_length: Arc::clone(&log_length),
            cut: HashMap::new(),
            of_expire: None,
        };
        let removals = Arc::new(Removals {
            watch: Arc::clone(&watch),
            tail: Arc::clone(&tail),
            rewrites: Arc::clone(&rewrites),
            flush_requests: Arc::clone(&flush_requests),
            listener: Arc::clone(&listener),
            releases: AtomicU64::new(0),
            removed: AtomicU64::new(1),
            clearing: tokio::sync::Mutex::default(),
            open: tokio::sync::Mutex::new(Some(removals)),
        });
        let (queue, waiting) = Queue::new(options.queue.clone());
        let planner =
            Planner::new(options.lifecycle, run_states, Arc::clone(&tail), Arc::clone(&ids), Arc::clone(&rewrites));
        let writer = Writer {
            options,
            connect,
            connection: writer,
            maintenance_connection,
            checkpoints,
            growth: WalPreallocator::of(&path, log_length),
            listener,
            tail: Arc::clone(&tail),
            ids: Arc::clone(&ids),
            maintenance,
            flush_requests,
            stale: false,
            watch: Arc::clone(&watch),
            watching: tasks.spawn(watching),
            _lock: Arc::clone(&lock),
        };
        let committer = Committer { planner, writer };
        let committer = tasks.spawn(committer.run(waiting));
        let shared = Shared {
            queue,
            tasks,
            readers,
            keys,
            writes,
            backups,
            removals,
            rewrites,
            projects,
            tail,
            ids,
            watch,
            lock: Mutex::new(Some(lock)),
            committer: RunningCommitter::new(committer),
        };
        Ok(Self { shared: Arc::new(shared), project: ProjectNumber::DEFAULT })
    }
}

/// Begins an epoch of each project, in one transaction.
async fn begin_epochs(writer: &mut SqliteConnection, memory: &RecoveredState) -> Result<Projects> {
    let known = Projects::default();
    let projects = projects::all(writer).await?;
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(from_sqlx)?;
    for project in projects {
        let last_pos = memory.last_positions.get(&project.number);
        let last_position = last_pos.map_or(0, |pos| position_of(*pos));
        let epochs = epochs::begin(&mut transaction, project.number, last_position).await?;
        known.insert(&project, History::new(project.feed, epochs));
    }
    transaction.commit().await.map_err(from_sqlx)?;
    Ok(known)
}
