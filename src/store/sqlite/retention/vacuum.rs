//! Free space of the file after an erasure. A freed cell is overwritten (`secure_delete`), but where SQLite rebuilds a page to
//! merge it with its neighbours (`rebuildPage`), copies of cells stay in the gap of the page; and files of versions without
//! `secure_delete` have free pages that were never overwritten. Only a rewritten file has no copy left.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::Instant;

use crate::store::sqlite::watch::FileWatch;

use super::space::Pages;

/// Maximum size of a file that is rewritten, without its free pages. The rewrite takes as much memory, and commits wait until so much
/// is written to the write-ahead log.
const MAX_BYTES: u64 = 16 << 20;

/// Maximum time of the first half of a rewrite, which reads the file. Commits fail when they wait for longer than 5 seconds, so 3 are
/// left to the second half, which cannot be stopped: 5.4 MiB a second.
const MAX_TIME: Duration = Duration::from_secs(2);

/// Steps of SQLite's machine between two looks at the time.
const STEPS: i32 = 100;

/// Cache of the file, KiB (negative, as SQLite takes it). A rewrite reads and writes each page once.
const CACHE: &str = "-4096";

/// Overwrites what free space of a small file holds of erased payloads; returns whether it did. Failures are logged: readers get
/// nothing that is erased, and a later erasure tries again.
pub async fn clear_free_space(connect: &SqliteConnectOptions, watch: &FileWatch) -> bool {
    let rewritten = rewrite_small(connect, watch).await;
    match &rewritten {
        Ok(bytes) if *bytes <= MAX_BYTES => return true,
        Ok(bytes) => tracing::warn!(
            bytes,
            max_bytes = MAX_BYTES,
            "erased payloads may be left in free space of the file, which is too large to be rewritten while it is served; \
             a backup that takes its place has none"
        ),
        Err(error) => tracing::warn!(
            %error,
            "the file was not rewritten: erased payloads may be left in its free space until a later erasure"
        ),
    }
    false
}

/// Rewrites the file if it is small enough. Returns the bytes of its pages that were not free.
async fn rewrite_small(connect: &SqliteConnectOptions, watch: &FileWatch) -> sqlx::Result<u64> {
    // In memory: a temporary file would be written to another directory, if there is one that can be written.
    let options = connect.clone().pragma("cache_size", CACHE).pragma("temp_store", "MEMORY");
    let mut connection = options.connect().await?;
    let pages = Pages::of(&mut connection).await;
    let rewritten = match &pages {
        Ok(pages) if pages.used_bytes() <= MAX_BYTES => rewrite(&mut connection, pages, watch).await,
        _ => Ok(()),
    };
    let _ = connection.close().await;
    rewritten.and(pages.map(|pages| pages.used_bytes()))
}

async fn rewrite(connection: &mut SqliteConnection, pages: &Pages, watch: &FileWatch) -> sqlx::Result<()> {
    if !pages.is_incremental() {
        // A file of an earlier version can give pages back afterwards.
        sqlx::query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut *connection).await?;
    }
    let until = Instant::now() + MAX_TIME;
    connection.lock_handle().await?.set_progress_handler(STEPS, move || goes_on(until));
    // A checkpoint shortens the file at any time after the COMMIT, of which a failure says nothing.
    watch.begin_rewrite();
    let rewritten = sqlx::query("VACUUM").execute(&mut *connection).await;
    if let Ok(mut handle) = connection.lock_handle().await {
        handle.remove_progress_handler();
    }
    rewritten.map(drop)
}

fn goes_on(until: Instant) -> bool {
    #[cfg(feature = "failpoints")]
    if crate::store::failpoints::fails_inside_vacuum() {
        return false;
    }
    Instant::now() < until
}
