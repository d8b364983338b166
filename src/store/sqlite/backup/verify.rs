//! All checks of a copy: its pages, its schema, every row with its checksum, a log without gaps and a complete index.

use std::path::Path;

use sqlx::{Connection, SqliteConnection};

use super::{BackupError, copy};
use crate::store::backup::BackupFacts;
use crate::store::inspect::Verdict;
use crate::store::sqlite::inspect;
use crate::store::sqlite::maintenance::checkpointer;
use crate::store::sqlite::recovery::RecoveredState;
use crate::store::sqlite::schema;

/// Checks a copy as `check --deep` checks a store. Changes nothing, and creates no file.
pub async fn verify(path: &Path) -> Result<BackupFacts, BackupError> {
    let mut reader = open(path).await?;
    let facts = look(path, &mut reader).await?;
    reader.close().await.map_err(|error| BackupError::sqlite(path, error))?;
    Ok(facts)
}

/// Fails unless the file is there, of the present schema and whole in itself.
pub async fn is_backup(path: &Path) -> Result<(), BackupError> {
    open(path).await?.close().await.map_err(|error| BackupError::sqlite(path, error))
}

/// Opens a copy of the present schema for reading.
pub async fn open(path: &Path) -> Result<SqliteConnection, BackupError> {
    if path.metadata().is_ok_and(|metadata| metadata.len() == 0) || !path.exists() {
        return Err(BackupError::Missing { path: path.to_owned() });
    }
    if checkpointer::path_of(path).exists() {
        return Err(BackupError::InUse { path: path.to_owned() });
    }
    let mut reader = inspect::reader(path, true).await?;
    let schema = schema::schema(path, &mut reader).await?;
    if schema.found < schema.known {
        return Err(BackupError::OlderSchema { path: path.to_owned(), found: schema.found, known: schema.known });
    }
    Ok(reader)
}

async fn look(path: &Path, reader: &mut SqliteConnection) -> Result<BackupFacts, BackupError> {
    let content = |error| BackupError::content(path, error);
    let checksums = inspect::checksums(reader).await.map_err(content)?;
    if checksums.verdict == Verdict::Failed {
        return Err(BackupError::damaged(path, checksums.detail));
    }
    RecoveredState::load(reader).await.map_err(content)?;
    inspect::deep(reader).await.map_err(|problem| BackupError::damaged(path, problem))?;
    copy::facts(path, reader).await.map_err(content)
}
