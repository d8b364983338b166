//! Checks of a file, as a store and by a replay.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::partial::failed;
use crate::cli::outcome::{Exit, Failure};
use crate::server::backup::{self, BackupError, BackupFacts, ReplayError};

/// Size of one read, bytes.
const PART_BYTES: usize = 1 << 20;

/// Whether the file may be a backup: it is there, and whole in itself.
pub async fn is_backup(path: &Path) -> Result<(), Failure> {
    backup::is_backup(path).await.map_err(|error| failure(&error))
}

/// Compares all rows with their checksums.
pub async fn verify(path: &Path) -> Result<BackupFacts, Failure> {
    backup::verify(path).await.map_err(|error| failure(&error))
}

/// Stores all events again in a scratch store in `TMPDIR`, and compares.
pub async fn replay(path: &Path) -> Result<(), Failure> {
    let scratch = tempfile::tempdir().map_err(|error| failed(&std::env::temp_dir(), &error))?;
    let replayed = backup::replay(path, &scratch.path().join("scratch.db")).await;
    replayed.map(drop).map_err(|error| match &error {
        ReplayError::Backup(error) => failure(error),
        ReplayError::Open(_) | ReplayError::Store(_) => {
            let hint = "a replay takes as much room as the backup; TMPDIR names another directory";
            Failure::new(Exit::Other, error.to_string()).hint(hint)
        }
        ReplayError::Event { .. } | ReplayError::Differs { .. } => Failure::new(Exit::Config, error.to_string()),
    })
}

/// Error of a file that is no sound backup.
pub fn failure(error: &BackupError) -> Failure {
    let exit = match error {
        BackupError::Missing { .. } => Exit::NotFound,
        BackupError::InUse { .. } | BackupError::Changing { .. } => Exit::Conflict,
        BackupError::Open(_) | BackupError::OlderSchema { .. } | BackupError::Damaged { .. } => Exit::Config,
    };
    Failure::new(exit, error.to_string())
}

/// SHA-256 of a file as it is read back, in hex.
pub fn sha256(path: &Path) -> Result<String, Failure> {
    let read = || -> io::Result<Sha256> {
        let (mut file, mut hash, mut part) = (File::open(path)?, Sha256::new(), vec![0; PART_BYTES]);
        loop {
            match file.read(&mut part)? {
                0 => return Ok(hash),
                bytes => hash.update(&part[..bytes]),
            }
        }
    };
    read().map(hex).map_err(|error| failed(path, &error))
}

pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
