//! Space of removed events: free pages, and the write-ahead log.

use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::time::Instant;

use crate::domain::{Error, Result};
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::maintenance::checkpointer;
use crate::store::sqlite::maintenance::wal_preallocator::LogLength;
use crate::store::sqlite::watch::FileWatch;

/// Value of `PRAGMA auto_vacuum` of files that can give pages back: those made or rewritten by this version or a later one.
const INCREMENTAL: i64 = 2;

/// Free pages that are left to the file, at least and as a part of all pages: new events need them soon.
const MIN_FREE_PAGES: i64 = 256;
const FREE_PART: i64 = 10;

/// Pages given back in one transaction, and transactions at the end of one pass.
const STEP_PAGES: i64 = 64;
const MAX_STEPS: usize = 32;

/// Longest wait for readers, before the write-ahead log cannot be emptied.
const LOG_WAIT: Duration = Duration::from_secs(10);

/// Pause between two tries. Commits wait for a tenth of a second during a try, if a reader is there.
const LOG_PAUSE: Duration = Duration::from_millis(400);

/// Pages of a file.
#[derive(sqlx::FromRow)]
pub struct Pages {
    mode: i64,
    /// All pages, the free ones included.
    count: i64,
    free: i64,
    /// Bytes of a page.
    bytes: i64,
}

impl Pages {
    pub async fn of(connection: &mut SqliteConnection) -> sqlx::Result<Self> {
        const PAGES: &str = "SELECT (SELECT auto_vacuum FROM pragma_auto_vacuum) AS mode, \
            (SELECT page_count FROM pragma_page_count) AS count, \
            (SELECT freelist_count FROM pragma_freelist_count) AS free, (SELECT page_size FROM pragma_page_size) AS bytes";
        sqlx::query_as(PAGES).fetch_one(connection).await
    }

    /// Whether the file can give pages back.
    pub fn is_incremental(&self) -> bool {
        self.mode == INCREMENTAL
    }

    /// Bytes of the pages that are not free.
    pub fn used_bytes(&self) -> u64 {
        ((self.count - self.free) * self.bytes).unsigned_abs()
    }
}

/// Gives free pages back to the file system, some at a time. A failure costs nothing but the space.
pub async fn give_back(connection: &mut SqliteConnection, watch: &FileWatch) {
    for _ in 0..MAX_STEPS {
        match step(connection, watch).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::debug!(%error, "free pages were not given back; it is tried again"),
        }
    }
}

/// Gives the next pages back; returns whether there may be more.
async fn step(connection: &mut SqliteConnection, watch: &FileWatch) -> sqlx::Result<bool> {
    let pages = Pages::of(connection).await?;
    if !pages.is_incremental() || pages.free <= MIN_FREE_PAGES.max(pages.count / FREE_PART) + STEP_PAGES {
        return Ok(false);
    }
    // A checkpoint shortens the file at any time from here on. A page of the pointer map may go with the others.
    let left = (pages.count - 2 * STEP_PAGES) * pages.bytes;
    watch.shortens(left.unsigned_abs());
    let vacuum = format!("PRAGMA incremental_vacuum({STEP_PAGES})");
    sqlx::query(sqlx::AssertSqlSafe(vacuum)).execute(connection).await?;
    Ok(true)
}

/// Moves the whole write-ahead log into the database file and empties it: the log holds earlier states of the pages. Waits for
/// readers with a bound.
pub async fn empty_log(connection: &mut SqliteConnection, length: &LogLength) -> Result<()> {
    let deadline = Instant::now() + LOG_WAIT;
    // Commits wait while the log is emptied, so most of it is moved before.
    checkpointer::catch_up(connection).await;
    loop {
        let alone = length.lock().await;
        if checkpointer::truncate(connection).await.map_err(from_sqlx)? {
            return Ok(());
        }
        drop(alone);
        if Instant::now() >= deadline {
            tracing::error!("a reader holds the write-ahead log, so that it cannot be emptied");
            return Err(Error::StoreUnavailable);
        }
        tokio::time::sleep(LOG_PAUSE).await;
    }
}
