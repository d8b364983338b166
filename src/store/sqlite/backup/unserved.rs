//! Copies of a file without its server. A server may serve it: the copy reads it as any program may read a SQLite file.

use std::fs::{File, Metadata};
use std::path::Path;
use std::time::SystemTime;

use sqlx::Connection;

use super::{BackupError, copy};
use crate::store::backup::BackupFacts;
use crate::store::sqlite::inspect;
use crate::store::sqlite::lock::{Identity, identity};
use crate::store::sqlite::maintenance::checkpointer;
use crate::store::sqlite::schema;

/// Most attempts while a server starts and stops on the file.
const ATTEMPTS: usize = 3;

/// What shows a change of a file that nobody seems to serve.
#[derive(PartialEq)]
struct Stamp {
    identity: Identity,
    bytes: u64,
    modified: Option<SystemTime>,
    is_closed: bool,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata: Metadata = path.metadata().ok()?;
        // After a clean close SQLite can read the file without creating files beside the database.
        let is_closed = !checkpointer::path_of(path).exists();
        let (identity, bytes, modified) = (identity(&metadata), metadata.len(), metadata.modified().ok());
        Some(Self { identity, bytes, modified, is_closed })
    }
}

/// Copies the store in the file `from` into the empty file `into`, an absolute path. Changes nothing, and creates no file.
///
/// # Errors
/// Those of the source and of the copy, which may be left half written.
pub async fn copy_file(from: &Path, into: &Path) -> Result<BackupFacts, BackupError> {
    for _ in 0..ATTEMPTS {
        let Some(stamp) = Stamp::of(from).filter(|stamp| stamp.bytes > 0) else {
            return Err(BackupError::Missing { path: from.to_owned() });
        };
        let copied = copy_once(from, into, stamp.is_closed).await;
        // A server that started to write meanwhile may have mixed old and new pages into the copy.
        if !stamp.is_closed || Stamp::of(from).as_ref() == Some(&stamp) {
            copied?;
            return copy::finish(into).await.map_err(|error| BackupError::content(into, error));
        }
        let emptied = File::options().write(true).truncate(true).open(into);
        emptied.map_err(|error| BackupError::sqlite(into, sqlx::Error::Io(error)))?;
    }
    Err(BackupError::Changing { path: from.to_owned() })
}

async fn copy_once(from: &Path, into: &Path, as_closed: bool) -> Result<(), BackupError> {
    let mut source = inspect::reader(from, as_closed).await?;
    let schema = schema::schema(from, &mut source).await?;
    if schema.found < schema.known {
        return Err(BackupError::OlderSchema { path: from.to_owned(), found: schema.found, known: schema.known });
    }
    copy::copy(&mut source, into, || true).await.map_err(|error| BackupError::sqlite(into, error))?;
    source.close().await.map_err(|error| BackupError::sqlite(from, error))
}
