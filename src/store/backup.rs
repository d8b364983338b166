//! Copies of a whole store.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::{Error, ProjectId, Result};

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupFacts {
    /// Kind of the store, as `Store::kind`.
    pub kind: &'static str,
    /// Version of the schema.
    pub schema_version: i64,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// Every project, `default` first.
    pub projects: Vec<BackupProject>,
}

/// A project in a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupProject {
    /// Id of the project.
    pub id: ProjectId,
    /// Position of the last event of its feed; 0: no event.
    pub position: u64,
    /// Cursor of the feed after that event.
    pub cursor: String,
}

impl BackupFacts {
    /// Number of events of all projects.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.projects.iter().map(|project| project.position).sum()
    }
}

/// A copy of a store in a file without a name: the space is free again once the copy is dropped, or the process ends.
#[derive(Debug)]
pub struct BackupCopy {
    facts: BackupFacts,
    open: Option<Open>,
    read: u64,
}

/// The file, and the right to be the one backup of the store.
#[derive(Debug)]
struct Open {
    file: Arc<File>,
    _place: OwnedSemaphorePermit,
}

impl BackupCopy {
    pub(super) fn new(facts: BackupFacts, file: File, place: OwnedSemaphorePermit) -> Self {
        let open = Some(Open { file: Arc::new(file), _place: place });
        Self { facts, open, read: 0 }
    }

    /// What the copy holds.
    #[must_use]
    pub fn facts(&self) -> &BackupFacts {
        &self.facts
    }

    /// Bytes that are not read yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.facts.bytes - self.read
    }

    /// Reads the next bytes: as many as are left, at most `most`. A dropped read reads nothing.
    pub async fn read(&mut self, most: usize) -> Result<Vec<u8>> {
        let Some(open) = &self.open else { return Ok(Vec::new()) };
        let length = usize::try_from(self.left()).unwrap_or(usize::MAX).min(most);
        let (file, at) = (Arc::clone(&open.file), self.read);
        let read = move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        };
        let bytes = tokio::task::spawn_blocking(read).await.map_err(Error::internal)?.map_err(Error::internal)?;
        self.read += bytes.len() as u64;
        Ok(bytes)
    }
}

/// Closes the file on a thread that may block: the file system frees its space at that moment.
impl Drop for BackupCopy {
    fn drop(&mut self) {
        let open = self.open.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(open));
        }
    }
}
