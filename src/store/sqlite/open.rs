//! Opening: one owner, one schema, and the writer's memory read from the file.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio_stream::StreamExt;

use crate::domain::{Error, EventId, FeedId, Result, record};
use crate::store::layout::Entry;
use crate::store::queue::Queue;
use crate::store::{CommitListener, ids as store_ids};

use super::committer::Committer;
use super::error::from_sqlx;
use super::heads::Heads;
use super::ids::{self, RecentIds};
use super::schema::{self, OpenError, describe};
use super::seal::Unsealed;
use super::tail::{End, Tail};
use super::{SqliteOptions, SqliteStore};

/// Pages of the write-ahead log after which its content is moved into the database.
const CHECKPOINT_PAGES: &str = "4096";

/// Bytes that the write-ahead log keeps after that, so that commits need not extend the file.
const WAL_KEEP_BYTES: &str = "67108864";

/// Rows that a reader's connection fetches before they are asked for. A row may be 1 MiB, and most pages end early.
const ROWS_AHEAD: usize = 8;

impl SqliteStore {
    /// Opens the store, making the file if it is missing, and starts its committer. `listener` hears of every commit.
    pub async fn open(options: SqliteOptions, listener: Arc<dyn CommitListener>) -> Result<Self, OpenError> {
        let path = options.path.clone();
        let lock = schema::lock(&path)?;
        let connect = connect_options(&path);
        let mut writer = SqliteConnection::connect_with(&connect).await.map_err(|e| describe(&path, e))?;
        schema::check_owner(&path, &mut writer).await?;
        schema::use_wal(&path, &mut writer).await?;
        schema::migrate(&path, &mut writer).await?;
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

pub fn connect_options(path: &Path) -> SqliteConnectOptions {
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
