//! Digests of what a copy holds, by project: equal for a copy and for a store that its events were replayed into.

use std::collections::HashSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::reader::EventsPart;
use super::{BackupError, BackupReader};
use crate::codec::record;
use crate::domain::{ProjectId, RunId};
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
    /// Number of runs with all their events and payloads.
    pub runs: u64,
    /// SHA-256 of the runs with all their events, in the order of creation: status, times, output, error, usage and open questions, in hex. Two digests
    /// can be compared if the same program made them.
    pub runs_sha256: String,
}

/// Reads all events and runs of a copy.
pub async fn contents(path: &Path) -> Result<Vec<ProjectContents>, BackupError> {
    let mut reader = BackupReader::open(path).await?;
    let mut all = Vec::new();
    for (number, project) in reader.projects().await? {
        let (events, events_sha256, changed) = events(&mut reader, number).await?;
        let (runs, runs_sha256) = runs(&mut reader, number, &changed).await?;
        all.push(ProjectContents { project, events, events_sha256, runs, runs_sha256 });
    }
    all.sort_by(|one, other| one.project.as_str().cmp(other.project.as_str()));
    Ok(all)
}

/// Number and digest of the events, and the runs with events that have lost their payload.
async fn events(
    reader: &mut BackupReader,
    project: ProjectNumber,
) -> Result<(u64, String, HashSet<RunId>), BackupError> {
    let (mut hash, mut count, mut encoded, mut after) = (Sha256::new(), 0, Vec::new(), 0);
    let mut changed = HashSet::new();
    loop {
        let EventsPart { events, end } = reader.events(project, after).await?;
        if events.is_empty() {
            return Ok((count, hex(hash), changed));
        }
        after = end;
        count += events.len() as u64;
        changed.extend(events.iter().filter(|event| event.removal.is_some()).map(|event| event.run_id.clone()));
        // As this version encodes them: what an older one wrote may have another form of the same values.
        for event in &events {
            encoded.clear();
            record::append_entry(event, &mut encoded);
            hash.update(&encoded);
        }
    }
}

/// Number of the runs, and digest of those that are the sum of their events: `changed` and shortened runs know more.
async fn runs(
    reader: &mut BackupReader,
    project: ProjectNumber,
    changed: &HashSet<RunId>,
) -> Result<(u64, String), BackupError> {
    let (mut hash, mut count, mut last) = (Sha256::new(), 0, 0);
    loop {
        let runs = reader.runs(project, last).await?;
        let Some((number, _)) = runs.last() else { return Ok((count, hex(hash))) };
        last = *number;
        let whole = runs.iter().filter(|(_, run)| run.first_seq == 1 && !changed.contains(&run.run_id));
        for (_, run) in whole {
            count += 1;
            hash.update(format!("{run:?}\n"));
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
