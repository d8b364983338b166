//! Locks a database file for one process, under all names of the file.
//!
//! On Linux the lock is on the database file itself, so links, bind mounts and a removed lock file make no difference:
//! flock(2) and the fcntl locks that SQLite takes on the same file are independent there. On other systems the two
//! kinds of lock conflict, so only the lock file beside the database is locked.
//!
//! The lock file is locked on Linux too: earlier versions of runlog know no other lock and must be kept out during an
//! upgrade.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::schema::OpenError;

/// Whether the database file itself is locked, see the module.
const LOCKS_DATABASE: bool = cfg!(target_os = "linux");

/// Identity of a file: the same for all its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

pub fn identity(metadata: &Metadata) -> Identity {
    Identity { device: metadata.dev(), inode: metadata.ino() }
}

/// Ownership of a database file.
///
/// Closing any handle of the database file drops all fcntl locks of this process on the file, SQLite's included. So
/// drop a `FileLock` after the last connection is closed.
#[derive(Debug)]
pub struct FileLock {
    // Field order is drop order: the lock file comes last, since the next owner of the lock file must not meet an open
    // handle of the database.
    database: Held,
    _beside: Vec<Held>,
}

/// Open file handle, unlocked on drop. The database handle has no lock on systems other than Linux.
#[derive(Debug)]
struct Held(File);

/// Unlocks explicitly. Closing the file is not enough: a child process holds a copy of the handle, and with the copy
/// the lock, between fork and exec.
impl Drop for Held {
    fn drop(&mut self) {
        if let Err(cause) = self.0.unlock() {
            tracing::debug!(%cause, "a lock ends only when its file is closed");
        }
    }
}

impl FileLock {
    /// Becomes the owner; creates the file if missing. Fails with `InUse` while another process is the owner.
    pub fn acquire(path: &Path) -> Result<Self, OpenError> {
        let mut create = File::options();
        create.create(true).truncate(false).read(true).write(true);
        let mut beside: Vec<Held> = Vec::new();
        // Lock files come before the database: a second owner within this process must not close a handle of the
        // database.
        for name in names(path) {
            let file = open(path, &lock_path(&name), &create)?;
            let metadata = file.metadata().map_err(|e| describe(path, e))?;
            let is_same = |held: &Held| held.0.metadata().is_ok_and(|held| identity(&held) == identity(&metadata));
            if !beside.iter().any(is_same) {
                beside.push(lock(path, file)?);
            }
        }
        let database = open(path, path, &create)?;
        let database = if LOCKS_DATABASE { lock(path, database)? } else { Held(database) };
        if database.0.metadata().is_ok_and(|metadata| metadata.nlink() > 1) {
            let data = path.display();
            tracing::warn!(%data, "the file has more than one name, and its write-ahead log only this one: always use this name");
        }
        Ok(Self { database, _beside: beside })
    }

    /// Whether a process owns the file. Creates no file, and releases each probed lock at once.
    pub fn is_held(path: &Path) -> Result<bool, OpenError> {
        let lock_files = names(path).into_iter().map(|name| lock_path(&name));
        for locked in lock_files.chain(LOCKS_DATABASE.then(|| path.to_owned())) {
            match File::options().read(true).write(true).open(locked) {
                Ok(file) => match file.try_lock() {
                    Err(TryLockError::WouldBlock) => return Ok(true),
                    _ => drop(Held(file)),
                },
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(describe(path, e)),
            }
        }
        Ok(false)
    }

    /// Handle of the database file.
    pub fn database(&self) -> &File {
        &self.database.0
    }
}

/// The given path and, for a symbolic link, its target.
fn names(path: &Path) -> Vec<PathBuf> {
    let target = path.is_symlink().then(|| path.canonicalize().ok()).flatten();
    std::iter::once(path.to_owned()).chain(target).collect()
}

fn lock_path(path: &Path) -> PathBuf {
    path.with_added_extension("lock")
}

fn open(database: &Path, path: &Path, options: &OpenOptions) -> Result<File, OpenError> {
    options.open(path).map_err(|e| describe(database, e))
}

fn lock(path: &Path, file: File) -> Result<Held, OpenError> {
    match file.try_lock() {
        Ok(()) => Ok(Held(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(e)) => Err(describe(path, e)),
    }
}

fn describe(path: &Path, error: io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::StorageFull => OpenError::Full { path },
        _ => OpenError::NotWritable { path, cause: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_owner_though_a_child_process_still_has_a_copy_of_the_handle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("runlog.db");
        let owner = FileLock::acquire(&path).unwrap();
        let held = std::iter::once(&owner.database).chain(&owner._beside);
        let copies: Vec<File> = held.map(|Held(file)| file.try_clone().unwrap()).collect();
        drop(owner);
        drop(FileLock::acquire(&path).expect("nobody owns it"));
        drop(copies);
    }
}
