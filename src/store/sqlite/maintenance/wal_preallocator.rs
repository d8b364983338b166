//! Extends the file of the write-ahead log ahead of the commits.
//!
//! A commit that extends the file waits for the data and for the file's new length: twice as long as a commit that
//! overwrites existing bytes. So the file is filled with zeros in a few steps. SQLite ignores all bytes after the last
//! valid frame.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::checkpointer;

/// Bytes of commits between two looks at the file's length.
const LOOK_BYTES: usize = 256 << 10;

/// Least and greatest step, in bytes. A step doubles the file within these limits: a small store stays small, and no
/// commit waits long.
const MIN_STEP_BYTES: u64 = 1 << 20;
const MAX_STEP_BYTES: u64 = 4 << 20;

/// Length up to which the file is extended, in bytes; close to the usual length at a restart of the log, see
/// [`checkpointer`].
const MAX_BYTES: u64 = 24 << 20;

/// Held during a change of the file's length, so that the length does not change between a look and the change.
pub type LogLength = Arc<Mutex<()>>;

/// The file as seen by the writer.
pub struct WalPreallocator {
    path: PathBuf,
    length: LogLength,
    /// Bytes of the file that commits can overwrite.
    ready_bytes: u64,
    written_bytes: usize,
}

impl WalPreallocator {
    /// For the write-ahead log of this open database.
    pub fn of(database: &Path, length: LogLength) -> Self {
        let path = checkpointer::path_of(database);
        // Bytes left by a killed process can be overwritten.
        let ready_bytes = path.metadata().map_or(0, |log| log.len());
        Self { path, length, ready_bytes, written_bytes: 0 }
    }

    /// Counts bytes of a commit (an estimate).
    pub fn written(&mut self, bytes: usize) {
        self.written_bytes += bytes;
    }

    /// Extends the file once commits have begun to extend the file themselves. No commit may run meanwhile.
    pub async fn keep_ahead(&mut self) {
        if self.written_bytes < LOOK_BYTES {
            return;
        }
        self.written_bytes = 0;
        // An erasure leaves an empty file. Zeros at its beginning would look like a log that another program has overwritten.
        let _alone = self.length.lock().await;
        let length = self.path.metadata().map_or(self.ready_bytes, |log| log.len());
        if length <= self.ready_bytes || length >= MAX_BYTES {
            self.ready_bytes = length;
            return;
        }
        let (path, ready) = (self.path.clone(), self.ready_bytes);
        let grown = tokio::task::spawn_blocking(move || grow(&path, ready)).await;
        match grown {
            Ok(Ok(ready)) => self.ready_bytes = ready,
            failed => {
                // Commits are slower, and that is all; a full disk is reported by a commit.
                tracing::debug!(?failed, "the write-ahead log was not made longer; it is tried again");
            }
        }
    }
}

/// Appends zeros, unless another program has emptied the file by now. Returns the number of bytes that commits can overwrite.
fn grow(path: &Path, ready: u64) -> io::Result<u64> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let length = file.metadata()?.len();
    if length <= ready {
        return Ok(length);
    }
    let step = length.clamp(MIN_STEP_BYTES, MAX_STEP_BYTES);
    file.write_all(&vec![0; usize::try_from(step).unwrap_or(0)])?;
    file.sync_all()?;
    Ok(length + step)
}
