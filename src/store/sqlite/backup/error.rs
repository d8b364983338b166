//! Errors of the work on copies of a file.

use std::path::{Path, PathBuf};

use crate::domain::Error;
use crate::store::sqlite::schema::{OpenError, damaged, describe};

/// Error of a copy, a check or a restore, with the remedy. `path` is the file.
#[allow(missing_docs, reason = "the fields are named in the sentence above or by themselves")]
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no such file, or it is empty.
    #[error("{path}: there is no such store")]
    Missing { path: PathBuf },
    /// A part of the store lies in a write-ahead log beside the file.
    #[error(
        "{path}: has a write-ahead log beside it, so it is a store in use and no backup; `runlog backup --data` copies it"
    )]
    InUse { path: PathBuf },
    /// An older version of runlog wrote the file.
    #[error(
        "{path}: the schema (version {found}) is older than this program's (version {known}); use the version that wrote it, or \
         run `runlog migrate --data` on a copy"
    )]
    OlderSchema { path: PathBuf, found: i64, known: i64 },
    /// A check found damage.
    #[error("{path}: the file is damaged: {problem}")]
    Damaged { path: PathBuf, problem: String },
    /// The file changed while it was copied without its server.
    #[error("{path}: the file changes all the time; back it up through its server")]
    Changing { path: PathBuf },
}

impl BackupError {
    pub(super) fn damaged(path: &Path, problem: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.to_string() }
    }

    /// Of SQLite, at this file.
    pub(super) fn sqlite(path: &Path, error: sqlx::Error) -> Self {
        describe(path, error).into()
    }

    /// Of the content of this file.
    pub(super) fn content(path: &Path, error: Error) -> Self {
        damaged(path, error).into()
    }
}
