//! Backups: a copy of the whole store, made once and read in chunks.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Service;
use super::access::audit::Action;
use crate::domain::{Error, Result};
use crate::store::backup::BackupCopy;
pub use crate::store::backup::{BackupFacts, BackupProject};
use crate::telemetry;

/// A backup under way. It is audited when it ends, also where its caller goes away before; the copy goes with it.
pub struct Backup {
    service: Service,
    action: Option<Action>,
    copy: Option<BackupCopy>,
    hash: Sha256,
    bytes: u64,
    outcome: Outcome,
}

/// Outcome of a backup, counted when it is dropped: with the backup, also where its caller went away.
#[derive(Default)]
struct Outcome {
    is_whole: bool,
}

impl Drop for Outcome {
    fn drop(&mut self) {
        let outcome = if self.is_whole { "whole" } else { "failed" };
        telemetry::BACKUPS.add_one(&[("outcome", outcome)]);
        if self.is_whole {
            telemetry::LAST_BACKUP.set(Timestamp::now().as_second().unsigned_abs());
        }
    }
}

/// The whole content of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSum {
    /// SHA-256 of all bytes, in hex.
    pub sha256: String,
    /// Number of bytes.
    pub bytes: u64,
}

impl Service {
    /// Begins a backup of the store with all projects. Fails unless the caller has the scope `admin` of the project `default`, or
    /// the server asks for no key.
    pub async fn begin_backup(&self) -> Result<Backup> {
        let action = Action::begin(&self.caller, "store.backup", "");
        if let Err(error) = self.check_open().and_then(|()| self.caller.require_whole_store()) {
            action.end(&Err::<(), _>(error.clone()));
            return Err(error);
        }
        let (service, action) = (self.clone(), Some(action));
        Ok(Backup { service, action, copy: None, hash: Sha256::new(), bytes: 0, outcome: Outcome::default() })
    }
}

impl Backup {
    /// Makes the copy; to be called once, before the chunks are read.
    pub async fn make(&mut self) -> Result<BackupFacts> {
        let made = tokio::select! {
            made = self.service.store.backup() => made,
            end = self.service.closed() => Err(end),
        };
        let copy = made.map_err(|error| self.failed(error))?;
        let facts = copy.facts().clone();
        self.copy = Some(copy);
        Ok(facts)
    }

    /// Size of the next chunk, at most `most`; 0 at the end.
    #[must_use]
    pub fn next_bytes(&self, most: usize) -> usize {
        let left = self.copy.as_ref().map_or(0, BackupCopy::left);
        usize::try_from(left).unwrap_or(usize::MAX).min(most)
    }

    /// Reads the next chunk, at most `most` bytes.
    pub async fn chunk(&mut self, most: usize) -> Result<Vec<u8>> {
        let Some(copy) = &mut self.copy else { return Ok(Vec::new()) };
        let read = match self.service.check_open() {
            Ok(()) => copy.read(most).await,
            Err(end) => Err(end),
        };
        let chunk = read.map_err(|error| self.failed(error))?;
        self.hash.update(&chunk);
        self.bytes += chunk.len() as u64;
        Ok(chunk)
    }

    /// Resolves when the backup has to end, with the reason.
    pub async fn closed(&mut self) -> Error {
        let end = self.service.closed().await;
        self.failed(end)
    }

    /// Ends a backup whose chunks were all read.
    #[must_use]
    pub fn finish(mut self) -> BackupSum {
        if let Some(action) = self.action.take() {
            action.end(&Ok(()));
        }
        self.outcome.is_whole = true;
        let sha256 = std::mem::take(&mut self.hash).finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        BackupSum { sha256, bytes: self.bytes }
    }

    fn failed(&mut self, error: Error) -> Error {
        let failed = Err::<(), _>(error.clone());
        if let Some(action) = self.action.take() {
            action.end(&failed);
        }
        error
    }
}
