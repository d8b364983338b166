//! Opening: one owner, one schema, and the writer's memory read from the file.

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio_stream::StreamExt;

use crate::domain::{Error, EventId, FeedId, Result, record};
use crate::store::layout::Entry;
use crate::store::queue::Queue;
use crate::store::{CommitListener, ids as store_ids};

use super::committer::Committer;
use super::error::{self, from_sqlx, primary_code};
use super::heads::Heads;
use super::ids::{self, RecentIds};
use super::seal::Unsealed;
use super::tail::{End, Tail};
use super::{SqliteOptions, SqliteStore};

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

/// Pages of the write-ahead log after which its content is moved into the database.
const CHECKPOINT_PAGES: &str = "4096";

/// Bytes that the write-ahead log keeps after that, so that commits need not extend the file.
const WAL_KEEP_BYTES: &str = "67108864";

/// Rows that a reader's connection fetches before they are asked for. A row may be 1 MiB, and most pages end early.
const ROWS_AHEAD: usize = 8;

/// Why a store does not open, and what to do. `path` is the database file, `cause` what the system said.
#[allow(missing_docs, reason = "the fields are named in the sentence above")]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A second process.
    #[error("{path}: another runlog process serves this file; stop it, or use another --data")]
    InUse { path: PathBuf },
    /// Not SQLite.
    #[error("{path}: this file is no runlog database; nothing was changed; use another --data")]
    NotADatabase { path: PathBuf },
    /// Somebody else's SQLite database.
    #[error("{path}: this SQLite database belongs to another program; nothing was changed; use another --data")]
    Foreign { path: PathBuf },
    /// No write permission, or a read-only file system.
    #[error("{path}: the file or its directory cannot be written: {cause}")]
    NotWritable { path: PathBuf, cause: String },
    /// No space.
    #[error("{path}: no space left on the device; free space and start again")]
    Full { path: PathBuf },
    /// A newer program made it.
    #[error("{path}: the schema (version {found}) is newer than this program's (version {known}); use a newer runlog")]
    NewerSchema { path: PathBuf, found: i64, known: i64 },
    /// Damage.
    #[error("{path}: the database is damaged: {cause}; keep a copy, then restore a backup or try `sqlite3 .recover`")]
    Damaged { path: PathBuf, cause: String },
    /// Anything else.
    #[error("{path}: cannot be opened: {cause}")]
    Other { path: PathBuf, cause: String },
}

impl SqliteStore {
    /// Opens the store, making the file if it is missing, and starts its committer. `listener` hears of every commit.
    pub async fn open(options: SqliteOptions, listener: Arc<dyn CommitListener>) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let lock = lock(&path)?;
        let connect = connect_options(&path);
        let mut writer = SqliteConnection::connect_with(&connect).await.map_err(|e| describe(&path, e))?;
        check_owner(&path, &mut writer).await?;
        use_wal(&path, &mut writer).await?;
        migrate(&path, &mut writer).await?;
        let feed_id: i64 = sqlx::query_scalar("SELECT feed_id FROM store")
            .fetch_one(&mut writer)
            .await
            .map_err(|e| describe(&path, e))?;
        let damaged = |e: Error| OpenError::Damaged { path: path.clone(), cause: e.to_string() };
        let memory = rebuild(&mut writer).await.map_err(damaged)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.read_connections)
            .connect_with(connect.clone().pragma("query_only", "ON").row_buffer_size(ROWS_AHEAD))
            .await
            .map_err(|e| describe(&path, e))?;
        let tail = Arc::new(Tail::default());
        tail.replace(memory.entries, memory.ends, memory.last_position);
        let recent_ids = Arc::new(RecentIds::default());
        recent_ids.replace(memory.recent_ids);
        let (queue, waiting) = Queue::new(options.queue.clone());
        let committer = Committer {
            options: options.clone(),
            connect,
            writer,
            listener,
            tail: Arc::clone(&tail),
            heads: Heads::new(memory.last_run),
            recent_ids: Arc::clone(&recent_ids),
            unsealed: memory.unsealed,
            stale: false,
            _lock: lock,
        };
        let committer = tokio::spawn(committer.run(waiting));
        Ok(Self {
            queue,
            readers,
            tail,
            recent_ids,
            feed_id: FeedId(u32::try_from(feed_id).unwrap_or_default()),
            committer: tokio::sync::Mutex::new(Some(committer)),
        })
    }
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // The ack comes after the commit reached the disk: promise 1.
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", WAL_KEEP_BYTES)
        .pragma("cache_size", "-32768")
        .foreign_keys(false)
        .disable_statement_logging()
}

/// One process owns the file: the lock lies beside it, since SQLite's own locks come and go, and since closing any
/// handle of the database file itself would drop them.
fn lock(path: &Path) -> Result<File, OpenError> {
    let not_writable = |e: io::Error| OpenError::NotWritable { path: path.to_owned(), cause: e.to_string() };
    let lock_path = path.with_added_extension("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(lock_path).map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull => OpenError::Full { path: path.to_owned() },
            _ => not_writable(e),
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(e)) => Err(not_writable(e)),
    }
}

/// Before anything is written: the file is empty or ours. A crash may have left no more than the migrations' own table.
async fn check_owner(path: &Path, writer: &mut SqliteConnection) -> Result<(), OpenError> {
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut *writer)
        .await
        .map_err(|e| describe(path, e))?;
    let has = |table: &str| tables.iter().any(|name| name == table);
    let is_ours = ["_sqlx_migrations", "log", "run_index", "store"].into_iter().all(has);
    if is_ours || tables.iter().all(|name| name == "_sqlx_migrations") {
        return Ok(());
    }
    Err(OpenError::Foreign { path: path.to_owned() })
}

/// The mode stays in the file, so it is set once the file is known to be ours, and no later connection needs it.
async fn use_wal(path: &Path, writer: &mut SqliteConnection) -> Result<(), OpenError> {
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(writer).await.map_err(|e| describe(path, e))?;
    if mode != "wal" {
        let cause = format!("the file system allows journal mode {mode:?} only, and the store needs \"wal\"");
        return Err(OpenError::Other { path: path.to_owned(), cause });
    }
    Ok(())
}

async fn migrate(path: &Path, writer: &mut SqliteConnection) -> Result<(), OpenError> {
    // Not `run`: its bound on the connection makes the future of `open` one that cannot be spawned.
    MIGRATIONS.run_direct(None, &mut *writer, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => {
            let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
            OpenError::NewerSchema { path: path.to_owned(), found, known }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => describe(path, error),
        other => OpenError::Damaged { path: path.to_owned(), cause: other.to_string() },
    })?;
    // A file that can be read but not written fails here and not at the first publish.
    sqlx::raw_sql("BEGIN IMMEDIATE; UPDATE store SET sealed_pos = sealed_pos; COMMIT")
        .execute(writer)
        .await
        .map_err(|e| describe(path, e))?;
    Ok(())
}

fn describe(path: &Path, error: sqlx::Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match primary_code(&error) {
        Some(error::NOTADB) => OpenError::NotADatabase { path },
        Some(error::READONLY | error::CANTOPEN) => OpenError::NotWritable { path, cause },
        Some(error::FULL) => OpenError::Full { path },
        Some(error::CORRUPT) => OpenError::Damaged { path, cause },
        Some(error::BUSY) => OpenError::InUse { path },
        _ => OpenError::Other { path, cause },
    }
}

/// What the writer knows without reading: the unsealed end of the log and where everything ends.
pub struct Memory {
    pub entries: Vec<(i64, Entry)>,
    pub ends: Vec<(i64, End)>,
    /// As (run, hash, seq).
    pub recent_ids: Vec<(i64, i64, u64)>,
    pub last_position: u64,
    pub last_run: i64,
    pub unsealed: Unsealed,
}

/// Reads [`Memory`] from the file. Bounded by what a seal leaves behind, not by the size of the log.
pub async fn rebuild(writer: &mut SqliteConnection) -> Result<Memory> {
    let (sealed, last_run): (i64, i64) =
        sqlx::query_as("SELECT sealed_pos, (SELECT coalesce(max(run), 0) FROM runs) FROM store")
            .fetch_one(&mut *writer)
            .await
            .map_err(from_sqlx)?;
    let mut found = Found::default();
    let mut unsealed = Unsealed::default();
    let mut last_position = sealed.unsigned_abs();
    let mut rows = sqlx::query_as::<_, (i64, i64, bool, Vec<u8>)>(
        "SELECT pos, count, sensitive, data FROM log WHERE pos > ? ORDER BY pos",
    )
    .bind(sealed)
    .fetch(&mut *writer);
    while let Some(row) = rows.next().await {
        let (pos, count, sensitive, data) = row.map_err(from_sqlx)?;
        let pos = pos.unsigned_abs();
        if pos != last_position + 1 {
            tracing::error!(pos, last_position, "the log has a gap");
            return Err(Error::StoreDamaged);
        }
        unsealed.bytes += data.len();
        found.read_row(pos, sensitive, data.into())?;
        last_position = pos + count.unsigned_abs() - 1;
    }
    drop(rows);
    let numbers = run_numbers(writer, &found).await?;
    let number = |run_id: &str| numbers.get(run_id).copied().ok_or(Error::StoreDamaged);
    let mut recent_ids = Vec::new();
    for (run_id, event_id, seq) in &found.ids {
        let run = number(run_id)?;
        // What the store itself gave needs no entry: the id tells its place.
        if store_ids::assigned_seq(run, event_id) != Some(*seq) {
            recent_ids.push((run, ids::hash(event_id), *seq));
        }
    }
    let entries = found.entries.into_iter().map(|(run_id, entry)| Ok((number(&run_id)?, entry)));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    unsealed.entries = entries.len();
    let mut ends = Vec::with_capacity(found.last_records.len());
    for (run_id, record) in found.last_records {
        let last = record::decode(record)?;
        ends.push((number(&run_id)?, End { last_seq: last.seq, updated_at: last.recorded_at, row_seq: 0 }));
    }
    Ok(Memory { entries, ends, recent_ids, last_position, last_run, unsealed })
}

async fn run_numbers(writer: &mut SqliteConnection, found: &Found) -> Result<HashMap<String, i64>> {
    let run_ids: HashSet<&str> = found.entries.iter().map(|(run_id, _)| run_id.as_str()).collect();
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT run_id, run FROM runs WHERE run_id IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&run_ids).unwrap_or_default())
            .fetch_all(writer)
            .await
            .map_err(from_sqlx)?;
    Ok(rows.into_iter().collect())
}

/// What the unsealed rows hold, by the names in the records.
#[derive(Default)]
struct Found {
    entries: Vec<(String, Entry)>,
    last_records: HashMap<String, bytes::Bytes>,
    ids: Vec<(String, EventId, u64)>,
}

impl Found {
    fn read_row(&mut self, row: u64, sensitive: bool, data: bytes::Bytes) -> Result<()> {
        let total = data.len();
        let mut rest = data;
        while !rest.is_empty() {
            let start = u32::try_from(total - rest.len()).map_err(|_| Error::StoreDamaged)?;
            let record = record::split_entry(&mut rest)?;
            let end = u32::try_from(total - rest.len()).map_err(|_| Error::StoreDamaged)?;
            let header = record::header(&record)?;
            let event_id = EventId::parse(header.event_id).map_err(|_| Error::StoreDamaged)?;
            match self.last_records.get_mut(header.run_id) {
                Some(last) => *last = record.clone(),
                None => drop(self.last_records.insert(header.run_id.to_owned(), record.clone())),
            }
            self.ids.push((header.run_id.to_owned(), event_id, header.seq));
            match self.entries.last_mut() {
                Some((run_id, entry)) if *run_id == header.run_id && entry.row == row => {
                    entry.count += 1;
                    entry.length = end - entry.start;
                }
                _ => {
                    let entry = Entry { seq: header.seq, count: 1, row, start, length: end - start, sensitive };
                    self.entries.push((header.run_id.to_owned(), entry));
                }
            }
        }
        Ok(())
    }
}
