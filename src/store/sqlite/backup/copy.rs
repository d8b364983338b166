//! A copy of one moment of a file, made by SQLite. `VACUUM INTO` reads one state of the write-ahead log and never waits for a
//! writer, nor a writer for it; it writes a file without a write-ahead log and without free pages.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::domain::history::History;
use crate::domain::{Cursor, Result, Scope};
use crate::store::backup::{BackupFacts, BackupProject};
use crate::store::project::position_of;
use crate::store::sqlite::KIND;
use crate::store::sqlite::error::from_sqlx;
use crate::store::sqlite::recovery;
use crate::store::sqlite::{epochs, projects, schema};

/// Steps of SQLite's machine between two questions whether the copy goes on: some ten rows.
const STEPS: i32 = 100;

/// Cache of each side of a copy, KiB (negative, as SQLite takes it). A copy reads and writes each page once.
const CACHE: &str = "-4096";

/// Options of a connection that reads the source of a copy.
pub fn source_options(connect: &SqliteConnectOptions) -> SqliteConnectOptions {
    connect.clone().create_if_missing(false).pragma("cache_size", CACHE)
}

/// Options of a connection to a copy that nobody else has, and that is thrown away when this process ends: no journal, no sync,
/// and what is deleted is overwritten.
pub fn private_options(copy: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(copy)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .pragma("secure_delete", "ON")
        .foreign_keys(false)
        .disable_statement_logging()
}

/// Copies the present state of the source into the empty file `into`, an absolute path. Interrupted once `goes_on` says false.
pub async fn copy(
    source: &mut SqliteConnection,
    into: &Path,
    goes_on: impl FnMut() -> bool + Send + 'static,
) -> sqlx::Result<()> {
    source.lock_handle().await?.set_progress_handler(STEPS, goes_on);
    // A path is bytes, and a text of SQLite must be no UTF-8.
    let vacuum = sqlx::query("VACUUM INTO CAST(? AS TEXT)").bind(into.as_os_str().as_bytes());
    let copied = vacuum.execute(&mut *source).await;
    source.lock_handle().await?.remove_progress_handler();
    copied.map(drop)
}

/// Bytes of a copy of the present state, at most.
pub async fn size(source: &mut SqliteConnection) -> sqlx::Result<u64> {
    let mut pages: [i64; 3] = [0; 3];
    for (value, pragma) in pages.iter_mut().zip(["page_count", "freelist_count", "page_size"]) {
        let query = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
        *value = sqlx::query_scalar(query).fetch_one(&mut *source).await?;
    }
    let [count, free, bytes] = pages;
    Ok(((count - free) * bytes).unsigned_abs())
}

/// Takes the secrets that the server signs with out of a copy; a server makes new ones when they are missing. Returns what the copy
/// holds.
pub async fn finish(copy: &Path) -> Result<BackupFacts> {
    let mut connection = private_options(copy).connect().await.map_err(from_sqlx)?;
    sqlx::query("DELETE FROM secrets").execute(&mut connection).await.map_err(from_sqlx)?;
    let facts = facts(copy, &mut connection).await;
    connection.close().await.map_err(from_sqlx)?;
    facts
}

/// What a file of the present schema holds.
pub async fn facts(path: &Path, connection: &mut SqliteConnection) -> Result<BackupFacts> {
    let (_, last_positions) = recovery::ends(connection).await?;
    let mut found = Vec::new();
    for project in projects::all(connection).await? {
        let position = last_positions.get(&project.number).map_or(0, |pos| position_of(*pos));
        let history = History::new(project.feed, epochs::read(connection, project.number).await?);
        let cursor = Cursor(position).to_text(&Scope::Feed, &history);
        found.push(BackupProject { id: project.id, position, cursor });
    }
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    Ok(BackupFacts { kind: KIND, schema_version: schema::missing().known, bytes, projects: found })
}
