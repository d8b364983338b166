//! Copies of the file that this process serves, on a connection of their own beside the committer.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio_util::sync::CancellationToken;

use super::copy;
use super::space::Space;
use crate::domain::{BackupRefusal, Error, Result};
use crate::store::backup::{BackupCopy, BackupFacts};
use crate::store::sqlite::connect::maintenance_options;
use crate::store::sqlite::error::{self, from_sqlx, primary_code};
use crate::store::sqlite::maintenance::checkpointer;
use crate::store::sqlite::maintenance::log_hold::LogHold;
use crate::store::sqlite::watch::FileWatch;

/// Added to the name of the database for a copy while it is made. Afterwards the copy has no name.
const IN_PROGRESS: &str = "-backup-in-progress";

/// Backups of an open store, one at a time.
pub struct Backups {
    parts: Arc<Parts>,
    place: Arc<Semaphore>,
}

struct Parts {
    /// Path of the copy while it is made.
    into: PathBuf,
    source: SqliteConnectOptions,
    /// Whether this process moves the write-ahead log into the database.
    checkpoints: bool,
    watch: Arc<FileWatch>,
    hold: LogHold,
    closing: CancellationToken,
    /// Held while a copy is made.
    making: Mutex<()>,
}

impl Backups {
    pub fn new(
        path: &Path,
        connect: &SqliteConnectOptions,
        checkpoints: bool,
        watch: Arc<FileWatch>,
        hold: LogHold,
    ) -> Self {
        let source = copy::source_options(&maintenance_options(connect));
        let (closing, making) = (CancellationToken::new(), Mutex::default());
        let parts = Parts { into: in_progress(path), source, checkpoints, watch, hold, closing, making };
        Self { parts: Arc::new(parts), place: Arc::new(Semaphore::new(1)) }
    }

    /// Makes a copy, see `Store::backup`. A task of its own makes it, so that a caller that goes away leaves nothing behind.
    pub async fn make(&self) -> Result<BackupCopy> {
        let place = Arc::clone(&self.place).try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => Error::Backup(BackupRefusal::InProgress),
            TryAcquireError::Closed => Error::ShuttingDown,
        })?;
        let unwanted = self.parts.closing.child_token();
        let _until_dropped = unwanted.clone().drop_guard();
        let making = tokio::spawn(Arc::clone(&self.parts).make(place, unwanted));
        making.await.map_err(Error::internal)?
    }

    /// Refuses further copies, and ends the one that is being made. The connections of copies are closed after this.
    pub async fn close(&self) {
        self.place.close();
        self.parts.closing.cancel();
        drop(self.parts.making.lock().await);
    }
}

impl Parts {
    async fn make(self: Arc<Self>, place: OwnedSemaphorePermit, unwanted: CancellationToken) -> Result<BackupCopy> {
        let _making = self.making.lock().await;
        self.watch.look()?;
        remove_file(&self.into).map_err(|error| self.cannot_write(&error))?;
        let mut private = File::options();
        let private = private.create_new(true).write(true).mode(0o600).open(&self.into);
        drop(private.map_err(|error| self.cannot_write(&error))?);
        let made = self.fill(&unwanted).await;
        let opened =
            made.and_then(|facts| Ok((facts, File::open(&self.into).map_err(|error| self.cannot_write(&error))?)));
        let into = self.into.clone();
        let removed = tokio::task::spawn_blocking(move || remove_file(&into)).await.map_err(Error::internal)?;
        removed.map_err(|error| self.cannot_write(&error))?;
        opened.map(|(facts, file)| BackupCopy::new(facts, file, place))
    }

    /// Writes the copy.
    async fn fill(&self, unwanted: &CancellationToken) -> Result<BackupFacts> {
        let mut source = self.source.connect().await.map_err(from_sqlx)?;
        let copied = self.copy(&mut source, unwanted).await;
        let closed = source.close().await.map_err(from_sqlx);
        copied.and(closed)?;
        copy::finish(&self.into).await
    }

    async fn copy(&self, source: &mut SqliteConnection, unwanted: &CancellationToken) -> Result<()> {
        let bytes = copy::size(source).await.map_err(from_sqlx)?;
        let directory = self.into.parent().unwrap_or(Path::new("/"));
        let space = Space::for_copy(directory, bytes)?;
        let _held = self.hold.hold();
        let (wanted, room) = (unwanted.clone(), space.clone());
        let goes_on = move || {
            #[cfg(feature = "failpoints")]
            crate::store::failpoints::slow_down(crate::store::failpoints::BACKUP_COPYING);
            !wanted.is_cancelled() && room.is_left()
        };
        let copied = copy::copy(source, &self.into, goes_on).await;
        // What came meanwhile lies in the log alone; the next commit would have to wait for all of it. Where another program
        // checkpoints, nobody here does.
        if self.checkpoints {
            checkpointer::catch_up(source).await;
        }
        copied.map_err(|error| match primary_code(&error) {
            _ if unwanted.is_cancelled() => Error::ShuttingDown,
            _ if space.has_ended() => space.error(),
            Some(error::FULL) => space.error(),
            _ => from_sqlx(error),
        })
    }

    fn cannot_write(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull => Error::StoreFull,
            _ => {
                tracing::error!(%error, file = %self.into.display(), "the copy of a backup cannot be written");
                Error::StoreUnavailable
            }
        }
    }
}

/// Removes a copy that a process left behind which ended while it made it.
pub fn remove_leftover(database: &Path) {
    let leftover = in_progress(database);
    if let Err(error) = remove_file(&leftover) {
        tracing::warn!(%error, file = %leftover.display(), "an unfinished backup cannot be removed");
    }
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// An absolute path, as the write-ahead log has: SQLite resolves symbolic links before it names its files.
fn in_progress(database: &Path) -> PathBuf {
    let mut path = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into_os_string();
    path.push(IN_PROGRESS);
    path.into()
}
