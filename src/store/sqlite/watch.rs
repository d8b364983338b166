//! Notices that the files of a running store were deleted, replaced or cut off. What is committed afterwards is in a file that
//! no name leads to, and is lost at the next start, so nothing is acknowledged any more: for ever, since what was committed
//! before that may be lost as well.
//!
//! Commits look before they are acknowledged, unless one has just looked; a task looks beside.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::domain::{Error, Result};

use super::lock::{FileLock, Identity, identity};
use super::maintenance::checkpointer;
use super::maintenance::checkpointer::Request;
use super::schema::OpenError;

/// How long a look is good enough for a commit. Each takes three calls of the system, which cost a lone publisher a tenth of its
/// speed; what was stored before a loss is as lost as what is stored a moment after it.
const FRESH: Duration = Duration::from_millis(10);

/// How often the task looks, and after how many looks it measures the files.
const INTERVAL: Duration = Duration::from_millis(250);
const LOOKS_OF_A_MEASURE: u32 = 8;

/// With what every SQLite database begins, and every write-ahead log, whose last bit tells the byte order of its checksums.
const DATABASE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
const LOG_MAGIC: u32 = 0x377f_0682;

/// What happened to the files.
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

    /// Whether the database is whole, and a log that no name leads to can still be moved into it.
    fn can_be_rescued(self) -> bool {
        matches!(self, Self::LogDeleted | Self::LogReplaced)
    }
}

/// A file by its name.
#[derive(Debug)]
struct Named {
    path: PathBuf,
    identity: Identity,
}

/// What a name leads to.
enum Found {
    Same {
        length: u64,
    },
    Other,
    Nothing,
    /// The name cannot be looked up now, which says nothing about the file.
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

/// The files of a store that is open.
#[derive(Debug)]
pub struct FileWatch {
    database: Named,
    log: Named,
    log_file: File,
    /// SQLite makes a database file longer and never shorter, unless it is told to vacuum it.
    longest: AtomicU64,
    /// When the last look began.
    looked: Mutex<Instant>,
    /// The store closes its files itself from now on.
    is_over: AtomicBool,
    loss: watch::Sender<Option<Loss>>,
}

impl FileWatch {
    /// Of a database that is open, so that its log is there.
    pub fn new(path: &Path) -> Result<Self, OpenError> {
        let describe = |e: io::Error| OpenError::Other { path: path.to_owned(), cause: e.to_string() };
        let log = checkpointer::path_of(path);
        let log_file = File::open(&log).map_err(describe)?;
        let (database, log) = (Named::new(path.to_owned()).map_err(describe)?, Named::new(log).map_err(describe)?);
        let (longest, is_over, loss) = (AtomicU64::new(0), AtomicBool::new(false), watch::Sender::new(None));
        let looked = Mutex::new(Instant::now());
        Ok(Self { database, log, log_file, longest, looked, is_over, loss })
    }

    /// What was found so far.
    pub fn verdict(&self) -> Result<()> {
        self.loss.borrow().map_or(Ok(()), |loss| Err(error(loss)))
    }

    /// Looks where the names lead, and whether the log begins as one: three calls of the system. SQLite writes on behind the
    /// end of a log that was emptied, and a start finds nothing in it.
    pub fn look(&self) -> Result<()> {
        self.settle(|| self.missing().or_else(|| self.spoiled_log()))
    }

    /// For a commit: looks, unless somebody just did.
    pub fn look_again(&self) -> Result<()> {
        let now = Instant::now();
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if now.duration_since(*looked) < FRESH {
                return self.verdict();
            }
            *looked = now;
        }
        self.look()
    }

    /// Looks into the database file too.
    pub fn look_inside(&self, lock: &FileLock) -> Result<()> {
        self.settle(|| self.missing().or_else(|| self.spoiled_log()).or_else(|| spoiled(lock.database())))
    }

    /// Nothing is a loss from now on: the store closes its files, and SQLite removes the log.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Resolves when the files are lost, with what everybody is told from then on.
    pub async fn lost(&self) -> Error {
        let mut loss = self.loss.subscribe();
        match loss.wait_for(Option::is_some).await.map(|loss| *loss) {
            Ok(Some(loss)) => error(loss),
            // The sender is in this very struct.
            _ => std::future::pending().await,
        }
    }

    /// Shows how much there is of the files, and how much more the disk takes.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float; bytes of a disk fit")]
    fn measure(&self) {
        for (file, named) in [("database", &self.database), ("wal", &self.log)] {
            if let Found::Same { length } = named.look() {
                metrics::gauge!("runlog_sqlite_file_bytes", "file" => file).set(length as f64);
            }
        }
        if let Ok(disk) = rustix::fs::statvfs(&self.database.path) {
            metrics::gauge!("runlog_sqlite_disk_free_bytes").set(disk.f_bavail.saturating_mul(disk.f_frsize) as f64);
        }
    }

    fn settle(&self, find: impl FnOnce() -> Option<Loss>) -> Result<()> {
        self.verdict()?;
        let Some(found) = find() else { return Ok(()) };
        // After the look, which may have seen what the store itself did.
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
        // Before the look: another look may see the file after it grew.
        let longest = self.longest.load(Ordering::Acquire);
        match self.database.look() {
            Found::Nothing => return Some(Loss::Deleted),
            Found::Other => return Some(Loss::Replaced),
            Found::Same { length } if length < longest => return Some(Loss::Shortened),
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
        // It is empty after a TRUNCATE checkpoint, which a program for backups may run.
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

/// Looks again and again until the files are lost. Then asks `checkpoints` for what of the log can still be saved, and ends.
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
        // Fails where the store is being closed, which moves the log too.
        let _ = checkpoints.send(Request::Rescue).await;
    }
}
