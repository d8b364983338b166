//! Detects that the files of a running store were deleted, replaced or truncated. Later commits go to a file without a
//! name and are lost at the next start, so no commit is acknowledged any more. The loss is final, since earlier commits
//! may be lost as well.
//!
//! Commits check the files before their acknowledgement, unless a check is fresh; a task checks periodically too.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::domain::{Error, Result};

use super::lock::{FileLock, Identity, identity};
use super::maintenance::checkpointer;
use super::maintenance::checkpointer::Request;
use super::schema::OpenError;
use crate::telemetry;

/// Age up to which a commit accepts an earlier check. A check makes three system calls, which cost a lone publisher a
/// tenth of the throughput. The delay costs no safety: a commit just before a loss is as lost as a commit just after.
const FRESH: Duration = Duration::from_millis(10);

/// Interval of the periodic check, and number of checks between two measurements of the file sizes.
const INTERVAL: Duration = Duration::from_millis(250);
const LOOKS_OF_A_MEASURE: u32 = 8;

/// First bytes of every SQLite database, and of every write-ahead log; the last bit of the latter gives the byte order
/// of the log's checksums.
const DATABASE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
const LOG_MAGIC: u32 = 0x377f_0682;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Deleted,
    Replaced,
    Shortened,
    Overwritten,
    LogDeleted,
    LogReplaced,
    LogOverwritten,
}

impl Loss {
    fn problem(self) -> &'static str {
        match self {
            Self::Deleted => "the database file was deleted or moved while it was served",
            Self::Replaced => "the database file was replaced by another one while it was served",
            Self::Shortened => "the database file was made shorter while it was served",
            Self::Overwritten => "the database file was overwritten while it was served",
            Self::LogDeleted => "the write-ahead log of the database was deleted or moved while it was served",
            Self::LogReplaced => "the write-ahead log of the database was replaced while it was served",
            Self::LogOverwritten => {
                "the write-ahead log of the database was emptied or overwritten while it was served"
            }
        }
    }

    /// Whether the database file is intact, so that the nameless log can still be checkpointed into the file.
    fn can_be_rescued(self) -> bool {
        matches!(self, Self::LogDeleted | Self::LogReplaced)
    }
}

/// Path of a file, with the identity of the file at the start.
#[derive(Debug)]
struct Named {
    path: PathBuf,
    identity: Identity,
}

/// Result of looking up a path.
enum Found {
    Same {
        length: u64,
    },
    Other,
    Nothing,
    /// The lookup failed; the state of the file is unknown.
    Unknown,
}

impl Named {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path.metadata()?);
        Ok(Self { path, identity })
    }

    fn look(&self) -> Found {
        match self.path.metadata() {
            Ok(metadata) if identity(&metadata) == self.identity => Found::Same { length: metadata.len() },
            Ok(_) => Found::Other,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Found::Nothing,
            Err(_) => Found::Unknown,
        }
    }
}

/// Watched files of an open store.
#[derive(Debug)]
pub struct FileWatch {
    database: Named,
    log: Named,
    log_file: File,
    /// Greatest length seen, in bytes. SQLite shortens a database file only when free pages are given back.
    longest: AtomicU64,
    /// Least length that the store itself has given the file, in bytes.
    shortest: AtomicU64,
    /// Start of the last check by a commit.
    looked: Mutex<Instant>,
    /// Set when the store begins to close its files itself.
    is_over: AtomicBool,
    loss: watch::Sender<Option<Loss>>,
}

impl FileWatch {
    /// Watches an open database; its write-ahead log must exist.
    pub fn new(path: &Path) -> Result<Self, OpenError> {
        let describe = |e: io::Error| OpenError::Other { path: path.to_owned(), cause: e.to_string() };
        let log = checkpointer::path_of(path);
        let log_file = File::open(&log).map_err(describe)?;
        let (database, log) = (Named::new(path.to_owned()).map_err(describe)?, Named::new(log).map_err(describe)?);
        let (longest, shortest) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let (is_over, loss) = (AtomicBool::new(false), watch::Sender::new(None));
        let looked = Mutex::new(Instant::now());
        Ok(Self { database, log, log_file, longest, shortest, looked, is_over, loss })
    }

    /// Result of the checks so far, without a new check.
    pub fn verdict(&self) -> Result<()> {
        self.loss.borrow().map_or(Ok(()), |loss| Err(error(loss)))
    }

    /// Checks the identity of both files and the header of the log: three system calls. The header matters because
    /// SQLite goes on writing past the end of a truncated log, and a start reads no commit from such a log.
    pub fn look(&self) -> Result<()> {
        self.settle(|| self.missing().or_else(|| self.spoiled_log()))
    }

    /// Check for a commit: reuses a result younger than [`FRESH`].
    pub fn look_again(&self) -> Result<()> {
        let now = Instant::now();
        {
            let mut looked = self.looked.lock();
            if now.duration_since(*looked) < FRESH {
                return self.verdict();
            }
            *looked = now;
        }
        self.look()
    }

    /// Checks the header of the database file too.
    pub fn look_inside(&self, lock: &FileLock) -> Result<()> {
        self.settle(|| self.missing().or_else(|| self.spoiled_log()).or_else(|| spoiled(lock.database())))
    }

    /// Allows the file to become as short as this. A checkpoint at any later time may shorten it.
    pub fn shortens(&self, bytes: u64) {
        self.shortest.fetch_min(bytes, Ordering::AcqRel);
    }

    /// Allows any length, for a rewrite of the whole file.
    pub fn begin_rewrite(&self) {
        self.shortest.store(0, Ordering::Release);
    }

    /// Ends what [`begin_rewrite`](Self::begin_rewrite) began: the file keeps at least its present length. Called once the log is
    /// emptied: before that, a checkpoint may still shorten the file, or give it the length of a state between two commits.
    pub fn end_rewrite(&self) {
        if let Found::Same { length } = self.database.look() {
            self.shortest.store(length, Ordering::Release);
        }
    }

    /// Ends detection: the store closes its files now, and SQLite removes the log.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Resolves when the files are lost, with the error of every later call.
    pub async fn lost(&self) -> Error {
        let mut loss = self.loss.subscribe();
        match loss.wait_for(Option::is_some).await.map(|loss| *loss) {
            Ok(Some(loss)) => error(loss),
            // Never happens: the sender is a field of `self`.
            _ => std::future::pending().await,
        }
    }

    /// Sets the gauges of file sizes and free disk space.
    fn measure(&self) {
        for (file, named) in [("database", &self.database), ("wal", &self.log)] {
            if let Found::Same { length } = named.look() {
                telemetry::SQLITE_FILE_BYTES.set_of(&[("file", file)], length);
            }
        }
        if let Ok(disk) = rustix::fs::statvfs(&self.database.path) {
            telemetry::SQLITE_DISK_FREE_BYTES.set(disk.f_bavail.saturating_mul(disk.f_frsize));
        }
    }

    fn settle(&self, find: impl FnOnce() -> Option<Loss>) -> Result<()> {
        self.verdict()?;
        let Some(found) = find() else { return Ok(()) };
        // Read after the check, which may have seen files that the store itself removed.
        if self.is_over.load(Ordering::Acquire) {
            return Ok(());
        }
        let is_first = self.loss.send_if_modified(|loss| {
            let is_first = loss.is_none();
            loss.get_or_insert(found);
            is_first
        });
        if is_first {
            let (data, problem) = (self.database.path.display(), found.problem());
            tracing::error!(%data, "{problem}; nothing is served any more: stop this server, put the right files in place, start it");
        }
        self.verdict()
    }

    fn missing(&self) -> Option<Loss> {
        // Read before the lookup: a concurrent check may see the file after later growth.
        let longest = self.longest.load(Ordering::Acquire);
        match self.database.look() {
            Found::Nothing => return Some(Loss::Deleted),
            Found::Other => return Some(Loss::Replaced),
            // Read after the lookup: the store allows it before it shortens the file.
            Found::Same { length } if length < longest.min(self.shortest.load(Ordering::Acquire)) => {
                return Some(Loss::Shortened);
            }
            Found::Same { length } => drop(self.longest.fetch_max(length, Ordering::AcqRel)),
            Found::Unknown => {}
        }
        match self.log.look() {
            Found::Nothing => Some(Loss::LogDeleted),
            Found::Other => Some(Loss::LogReplaced),
            Found::Same { .. } | Found::Unknown => None,
        }
    }

    fn spoiled_log(&self) -> Option<Loss> {
        // The log is empty after a TRUNCATE checkpoint, which a backup program may run; a failed read is no loss.
        let mut start = [0; 4];
        let is_readable = self.log_file.read_exact_at(&mut start, 0).is_ok();
        (is_readable && u32::from_be_bytes(start) & !1 != LOG_MAGIC).then_some(Loss::LogOverwritten)
    }
}

fn spoiled(database: &File) -> Option<Loss> {
    if database.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
        return Some(Loss::Deleted);
    }
    let mut start = [0; 16];
    let is_readable = database.read_exact_at(&mut start, 0).is_ok();
    (is_readable && start != *DATABASE_MAGIC).then_some(Loss::Overwritten)
}

fn error(loss: Loss) -> Error {
    Error::StoreLost { problem: loss.problem() }
}

/// Checks periodically until the files are lost. Then asks `checkpoints` to rescue the content of the log, and ends.
pub async fn run(watch: Arc<FileWatch>, lock: Arc<FileLock>, checkpoints: mpsc::Sender<Request>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut looks = 0_u32;
    while watch.look_inside(&lock).is_ok() {
        if looks.is_multiple_of(LOOKS_OF_A_MEASURE) {
            watch.measure();
        }
        looks = looks.wrapping_add(1);
        tokio::select! {
            _ = ticks.tick() => {}
            _ = watch.lost() => {}
        }
    }
    if watch.loss.borrow().is_some_and(Loss::can_be_rescued) {
        // Fails while the store is closing, which checkpoints the log too.
        let _ = checkpoints.send(Request::Rescue).await;
    }
}

#[cfg(test)]
mod tests;
