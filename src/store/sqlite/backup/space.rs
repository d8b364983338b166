//! Room for a copy on the disk of the store: a backup that fills the disk would stop all publishes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::domain::{BackupRefusal, Error, Result};

/// Bytes that a copy leaves to the events that come meanwhile, which grow the write-ahead log.
const RESERVE_BYTES: u64 = 64 << 20;

/// The disk of a directory. A clone is the same.
#[derive(Clone, Debug)]
pub struct Space {
    directory: PathBuf,
    copy_bytes: u64,
    has_ended: Arc<AtomicBool>,
}

impl Space {
    /// Room for a copy of this size. Fails with `BackupRefusal::NoSpace`.
    pub fn for_copy(directory: &Path, copy_bytes: u64) -> Result<Self> {
        let space = Self { directory: directory.to_owned(), copy_bytes, has_ended: Arc::default() };
        let free_bytes = space.free();
        if free_bytes.is_some_and(|free| free < copy_bytes.saturating_add(RESERVE_BYTES)) {
            Err(space.error())
        } else {
            Ok(space)
        }
    }

    /// Whether the copy may go on; false once others have used up the room.
    pub fn is_left(&self) -> bool {
        if self.free().is_some_and(|free| free < RESERVE_BYTES) {
            self.has_ended.store(true, Ordering::Release);
        }
        !self.has_ended()
    }

    /// Whether [`is_left`](Self::is_left) has said false.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    pub fn error(&self) -> Error {
        let needed_bytes = self.copy_bytes.saturating_add(RESERVE_BYTES);
        let free_bytes = self.free().unwrap_or_default();
        Error::Backup(BackupRefusal::NoSpace { needed_bytes, reserve_bytes: RESERVE_BYTES, free_bytes })
    }

    /// `None`: not known.
    fn free(&self) -> Option<u64> {
        rustix::fs::statvfs(&self.directory).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}
