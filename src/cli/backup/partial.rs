//! A file that gets its name once it is whole.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::cli::outcome::{Exit, Failure};

/// Added to the name of a file that is not whole. A command that was killed leaves it; the next one for the same file takes it over.
const SUFFIX: &str = ".partial";

/// Files of SQLite beside a store: with one of them, the file is in use, or was not closed.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Rights of what holds all events: for the owner.
const MODE: u32 = 0o600;

/// A file under a temporary name in the same directory, locked against another command, and removed when dropped.
pub struct Partial {
    target: PathBuf,
    replaces: bool,
    pub file: File,
    path: TempPath,
}

impl Partial {
    /// Begins an empty file in place of `target`. Fails for a `target` that is there, unless `replaces`, and for a store in use in
    /// any case.
    pub fn begin(target: &Path, replaces: bool) -> Result<Self, Failure> {
        let target = std::path::absolute(target).map_err(|error| failed(target, &error))?;
        check(&target, replaces)?;
        let path = target.with_added_extension(SUFFIX.trim_start_matches('.'));
        let mut open = File::options();
        let file = open.create(true).truncate(false).read(true).write(true).mode(MODE).open(&path);
        let file = file.map_err(|error| failed(&path, &error))?;
        // Another command may have given the file its name between the two steps.
        let is_ours = file.try_lock().is_ok() && is_same(&file, &path).unwrap_or(false);
        if !is_ours {
            return Err(Failure::new(Exit::Conflict, format!("{}: another command writes it", path.display())));
        }
        let emptied = file.set_len(0).and_then(|()| file.set_permissions(Permissions::from_mode(MODE)));
        let failure = |error: io::Error| failed(&path, &error);
        let temporary = emptied.and_then(|()| TempPath::try_from_path(&path)).map_err(failure)?;
        Ok(Self { target, replaces, file, path: temporary })
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs what was written, so that it can be checked as it will be found.
    pub fn sync(&self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| failed(&self.path, &error))
    }

    /// Gives the file its name, for good.
    pub fn finish(self) -> Result<(), Failure> {
        self.sync()?;
        check(&self.target, self.replaces)?;
        let Self { target, replaces, path, .. } = self;
        let named = if replaces { path.persist(&target) } else { path.persist_noclobber(&target) };
        named.map_err(|error| {
            if error.error.kind() == io::ErrorKind::AlreadyExists {
                is_there(&target)
            } else {
                failed(&target, &error.error)
            }
        })?;
        let directory = target.parent().unwrap_or(Path::new("/"));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| failed(directory, &error))
    }
}

/// Whether this is the file of that name.
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, path.metadata()?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

fn check(target: &Path, replaces: bool) -> Result<(), Failure> {
    for suffix in BESIDE {
        let mut beside = target.as_os_str().to_owned();
        beside.push(suffix);
        if Path::new(&beside).symlink_metadata().is_ok() {
            let problem =
                format!("{}: is there, so a store of that name is in use, or was not closed", beside.display());
            return Err(Failure::new(Exit::Conflict, problem)
                .hint("choose another name; a start would take that file for a part of the store"));
        }
    }
    match target.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(target, &error)),
        Ok(metadata) if metadata.is_file() && replaces => Ok(()),
        Ok(metadata) if metadata.is_file() => Err(is_there(target)),
        Ok(_) => Err(Failure::new(Exit::Conflict, format!("{}: is no regular file", target.display()))),
    }
}

fn is_there(target: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("{}: is there already; nothing was changed", target.display()))
}

/// Error of a file that cannot be read or written.
pub fn failed(path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Other,
    };
    Failure::new(exit, format!("{}: {error}", path.display()))
}
