//! Checks and migrates the schema of a file. [`OpenError`] names the problem and the remedy.

use std::path::{Path, PathBuf};

use sqlx::SqliteConnection;
use sqlx::migrate::{MigrateError, Migrator};

use crate::domain::Error;
use crate::store::inspect::Schema;

use super::error::{self, primary_code};
use super::index::id_index;
use super::store_row::StoreRow;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/sqlite/migrations");

/// Error of opening a store, with the remedy. `path` is the database file, `cause` the system's message.
#[allow(missing_docs, reason = "the fields are named in the sentence above")]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A second runlog process opened the file.
    #[error("{path}: another runlog process serves this file; stop it, or use another --data")]
    InUse { path: PathBuf },
    /// SQLite's own lock is taken or cannot be acquired.
    #[error(
        "{path}: SQLite cannot lock this file: another program uses it, or its file system cannot (a network file system); \
         stop that program, or use another --data"
    )]
    Locked { path: PathBuf },
    /// The file is not an SQLite database.
    #[error("{path}: this file is no runlog database; nothing was changed; use another --data")]
    NotADatabase { path: PathBuf },
    /// The file is an SQLite database of another program.
    #[error("{path}: this SQLite database belongs to another program; nothing was changed; use another --data")]
    Foreign { path: PathBuf },
    /// No write permission, or a read-only file system.
    #[error("{path}: the file or its directory cannot be written: {cause}")]
    NotWritable { path: PathBuf, cause: String },
    /// The disk is full.
    #[error("{path}: no space left on the device; free space and start again")]
    Full { path: PathBuf },
    /// A newer version of runlog wrote the file.
    #[error("{path}: the schema (version {found}) is newer than this program's (version {known}); use a newer runlog")]
    NewerSchema { path: PathBuf, found: i64, known: i64 },
    /// SQLite found damage, or the content of the store fails its checks.
    #[error("{path}: the database is damaged: {cause}; keep a copy, then restore a backup or try `sqlite3 .recover`")]
    Damaged { path: PathBuf, cause: String },
    /// An error that fits no other variant.
    #[error("{path}: cannot be opened: {cause}")]
    Other { path: PathBuf, cause: String },
}

/// Schema of the file. Changes nothing. Fails for a foreign database and for a schema of a newer version.
pub async fn schema(path: &Path, connection: &mut SqliteConnection) -> Result<Schema, OpenError> {
    check_owner(path, connection).await?;
    let describe = |e| describe(path, e);
    const IS_MIGRATED: &str = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let is_migrated: i64 = sqlx::query_scalar(IS_MIGRATED).fetch_one(&mut *connection).await.map_err(describe)?;
    let found: Option<i64> = match is_migrated {
        0 => None,
        _ => sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(connection)
            .await
            .map_err(describe)?,
    };
    let schema = Schema::of(found.unwrap_or(0), &MIGRATIONS);
    if schema.found > schema.known {
        let Schema { found, known, .. } = schema;
        return Err(OpenError::NewerSchema { path: path.to_owned(), found, known });
    }
    Ok(schema)
}

/// Schema of a missing file: version 0, all migrations pending.
pub fn missing() -> Schema {
    Schema::of(0, &MIGRATIONS)
}

/// Fails with `Foreign` unless the file is empty or a runlog database; called before the first write. A crash of the
/// first start may have left only the migrations' own table.
pub async fn check_owner(path: &Path, writer: &mut SqliteConnection) -> Result<(), OpenError> {
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

/// Sets WAL mode, and for a new file that free pages can be given back to the file system. Both are stored in the file, so call
/// this after [`check_owner`]; later connections need not set them.
pub async fn use_wal(path: &Path, writer: &mut SqliteConnection) -> Result<(), OpenError> {
    let is_new: bool = sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)")
        .fetch_one(&mut *writer)
        .await
        .map_err(|e| describe(path, e))?;
    if is_new {
        let incremental = sqlx::query("PRAGMA auto_vacuum = INCREMENTAL").execute(&mut *writer);
        incremental.await.map_err(|e| describe(path, e))?;
    }
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(writer).await.map_err(|e| describe(path, e))?;
    if mode != "wal" {
        let cause = format!("the file system allows journal mode {mode:?} only, and the store needs \"wal\"");
        return Err(OpenError::Other { path: path.to_owned(), cause });
    }
    Ok(())
}

/// Runs pending migrations, moves ids of the first schema, and writes the checksum of the store's row.
pub async fn migrate(path: &Path, writer: &mut SqliteConnection) -> Result<(), OpenError> {
    failpoint!("sqlite-migration-before", |e| describe(path, e));
    // `run_direct` and not `run`: the trait bound of `run` makes the future of `open` one that cannot be spawned.
    MIGRATIONS.run_direct(None, &mut *writer, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => {
            OpenError::NewerSchema { path: path.to_owned(), found, known: missing().known }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => describe(path, error),
        other => OpenError::Damaged { path: path.to_owned(), cause: other.to_string() },
    })?;
    failpoint!("sqlite-migration-inside", |e| describe(path, e));
    id_index::backfill_v1::move_ids(writer).await.map_err(|e| damaged(path, e))?;
    // A file that can be read but not written fails here and not at the first publish.
    let row = StoreRow::read(writer).await.map_err(|e| damaged(path, e))?;
    row.write(writer).await.map_err(|e| describe(path, e))?;
    failpoint!("sqlite-migration-after", |e| describe(path, e));
    Ok(())
}

/// Maps an SQLite error at opening to [`OpenError`].
pub fn describe(path: &Path, error: sqlx::Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match primary_code(&error) {
        Some(error::NOTADB) => OpenError::NotADatabase { path },
        Some(error::READONLY | error::CANTOPEN) => OpenError::NotWritable { path, cause },
        Some(error::FULL) => OpenError::Full { path },
        Some(error::CORRUPT) => OpenError::Damaged { path, cause },
        Some(error::BUSY) => OpenError::Locked { path },
        _ => OpenError::Other { path, cause },
    }
}

/// Maps an error in the content of the file to [`OpenError`].
pub fn damaged(path: &Path, error: Error) -> OpenError {
    let (path, cause) = (path.to_owned(), error.to_string());
    match error {
        Error::StoreFull => OpenError::Full { path },
        _ => OpenError::Damaged { path, cause },
    }
}
