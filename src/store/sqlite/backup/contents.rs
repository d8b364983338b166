//! Digests of what a copy holds, by project: equal for a copy and for a store that its events were replayed into.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::{BackupError, BackupReader};
use crate::codec::record;
use crate::domain::ProjectId;
use crate::store::ProjectNumber;

/// Numbers and digests of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectContents {
    /// Id of the project.
    pub project: ProjectId,
    /// Number of events.
    pub events: u64,
    /// SHA-256 of the events in the order of the feed, in hex.
    pub events_sha256: String,
    /// Number of runs.
    pub runs: u64,
    /// SHA-256 of the runs in the order of creation: status, times, output, error, usage and open questions, in hex. Two digests
    /// can be compared if the same program made them.
    pub runs_sha256: String,
}

/// Reads all events and runs of a copy.
pub async fn contents(path: &Path) -> Result<Vec<ProjectContents>, BackupError> {
    let mut reader = BackupReader::open(path).await?;
    let mut all = Vec::new();
    for (number, project) in reader.projects().await? {
        let (events, events_sha256) = events(&mut reader, number).await?;
        let (runs, runs_sha256) = runs(&mut reader, number).await?;
        all.push(ProjectContents { project, events, events_sha256, runs, runs_sha256 });
    }
    all.sort_by(|one, other| one.project.as_str().cmp(other.project.as_str()));
    Ok(all)
}

async fn events(reader: &mut BackupReader, project: ProjectNumber) -> Result<(u64, String), BackupError> {
    let (mut hash, mut count, mut encoded) = (Sha256::new(), 0, Vec::new());
    loop {
        let events = reader.events(project, count).await?;
        if events.is_empty() {
            return Ok((count, hex(hash)));
        }
        count += events.len() as u64;
        // As this version encodes them: what an older one wrote may have another form of the same values.
        for event in &events {
            encoded.clear();
            record::append_entry(event, &mut encoded);
            hash.update(&encoded);
        }
    }
}

async fn runs(reader: &mut BackupReader, project: ProjectNumber) -> Result<(u64, String), BackupError> {
    let (mut hash, mut count, mut last) = (Sha256::new(), 0, 0);
    loop {
        let runs = reader.runs(project, last).await?;
        let Some((number, _)) = runs.last() else { return Ok((count, hex(hash))) };
        last = *number;
        count += runs.len() as u64;
        for (_, run) in &runs {
            hash.update(format!("{run:?}\n"));
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
