//! The file of the write-ahead log, made longer ahead of the commits.
//!
//! A commit that makes the file longer waits for its bytes and then for the file's new length: twice as long as one that
//! writes over what is there. So the file is filled with zeros in a few steps. SQLite takes what lies behind its last frame for
//! no frame, whatever it is.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::checkpointer;

/// Bytes of commits after which the length is looked at.
const LOOK_BYTES: usize = 256 << 10;

/// A step is as long as the file, within these bounds: a store that holds little stays small, and no commit waits long.
const STEP_BYTES: (u64, u64) = (1 << 20, 4 << 20);

/// Length up to which the file is made longer; about what it has when it is begun anew, see [`wal`].
const MAX_BYTES: u64 = 24 << 20;

/// The file, as the one who writes to it sees it.
pub struct WalPreallocator {
    path: PathBuf,
    /// Up to here commits write over what is there.
    ready_bytes: u64,
    written_bytes: usize,
}

impl WalPreallocator {
    /// Of the log of this database, which is open.
    pub fn of(database: &Path) -> Self {
        let path = checkpointer::path_of(database);
        // What a process that was killed left is there to be written over.
        let ready_bytes = path.metadata().map_or(0, |log| log.len());
        Self { path, ready_bytes, written_bytes: 0 }
    }

    /// So many bytes were committed, about.
    pub fn written(&mut self, bytes: usize) {
        self.written_bytes += bytes;
    }

    /// Makes the file longer where commits have begun to do it. Nobody may write to the log meanwhile.
    pub async fn keep_ahead(&mut self) {
        if self.written_bytes < LOOK_BYTES || self.ready_bytes >= MAX_BYTES {
            return;
        }
        self.written_bytes = 0;
        let (path, ready) = (self.path.clone(), self.ready_bytes);
        let grown = tokio::task::spawn_blocking(move || grow(&path, ready)).await;
        match grown {
            Ok(Ok(ready)) => self.ready_bytes = ready,
            failed => {
                // Commits are slower, no more than that. A disk that is full tells of it in a commit.
                tracing::debug!(?failed, "the write-ahead log was not made longer; it is tried again");
            }
        }
    }
}

/// Returns up to where there is something to write over.
fn grow(path: &Path, ready: u64) -> io::Result<u64> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let length = file.metadata()?.len();
    if length <= ready || length >= MAX_BYTES {
        return Ok(length.max(ready));
    }
    let (shortest, longest) = STEP_BYTES;
    let step = length.clamp(shortest, longest);
    file.write_all(&vec![0; usize::try_from(step).unwrap_or(0)])?;
    file.sync_all()?;
    Ok(length + step)
}
