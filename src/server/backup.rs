//! Work on backups without a server: a copy of a file, its checks, its replay into a scratch store.

use std::path::Path;
use std::sync::Arc;

use super::offline::NoSubscribers;
use crate::domain::{Error, ProjectId};
use crate::service::import::{FirstOfRuns, ImportError, Imported, Importer};
use crate::store::sqlite::backup::{BackupReader, EventsPart, contents};
use crate::store::sqlite::{OpenError, SqliteOptions, SqliteStore};
use crate::store::{ProjectNumber, Store};

pub use crate::store::backup::{BackupFacts, BackupProject};
pub use crate::store::sqlite::backup::{BackupError, ProjectContents, copy_file, give_new_feeds, is_backup, verify};

/// Error of a replay. The scratch store holds a part of the events.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The scratch store does not open.
    #[error("the scratch store: {0}")]
    Open(#[from] OpenError),
    /// The scratch store has no room, or fails.
    #[error("the scratch store: {0}")]
    Store(#[from] Error),
    /// An event does not follow the events before it.
    #[error("project {project}, event {}: run {:?}, seq {}: {}", .error.line, .error.run_id.as_str(), .error.seq, .error.cause)]
    Event {
        /// The project of the event.
        project: ProjectId,
        /// The event by its position, and what is wrong.
        error: Box<ImportError>,
    },
    /// The replayed events come to something else than the backup holds.
    #[error(
        "project {project}: the {what} of the backup are not what its events come to: {held} there, {replayed} replayed"
    )]
    Differs {
        /// The project.
        project: ProjectId,
        /// Events or runs.
        what: &'static str,
        /// Number and digest in the backup.
        held: String,
        /// Number and digest in the scratch store.
        replayed: String,
    },
}

/// Stores all events of a backup again, in a new store at the path `scratch`, and compares events and runs of each project by
/// number and SHA-256.
pub async fn replay(backup: &Path, scratch: &Path) -> Result<Vec<ProjectContents>, ReplayError> {
    let held = contents(backup).await?;
    let store = SqliteStore::open(SqliteOptions::new(scratch), Arc::new(NoSubscribers)).await?;
    let stored = store_all(backup, &store).await;
    store.close().await;
    stored?;
    compare(&held, &contents(scratch).await?)?;
    Ok(held)
}

async fn store_all(backup: &Path, store: &SqliteStore) -> Result<(), ReplayError> {
    let mut reader = BackupReader::open(backup).await?;
    for (number, project) in reader.projects().await? {
        let target = store.create_project(&project).await?;
        let mut importer = Importer::new(store.in_project(target));
        store_project(&mut reader, number, &project, &mut importer).await?;
    }
    Ok(())
}

async fn store_project(
    reader: &mut BackupReader,
    number: ProjectNumber,
    project: &ProjectId,
    importer: &mut Importer,
) -> Result<(), ReplayError> {
    let failed = |error| ReplayError::Event { project: project.clone(), error: Box::new(error) };
    let (mut line, mut after) = (0, 0);
    let mut first_of_runs = FirstOfRuns::new(reader.has_removals().await?);
    loop {
        let EventsPart { events, end } = reader.events(number, after).await?;
        if events.is_empty() {
            return importer.finish().await.map(drop).map_err(failed);
        }
        after = end;
        for event in events {
            line += 1;
            let is_first = first_of_runs.take(event.run_id.as_str(), event.seq);
            let run = if is_first { Some(reader.run(number, &event.run_id).await?) } else { None };
            let (run_agent_name, structure_id) = run.map(|run| (run.agent_name, run.structure_id)).unwrap_or_default();
            let run_first_seq = Some(event.seq).filter(|seq| is_first && *seq > 1);
            let imported = Imported { line, event, run_first_seq, run_agent_name, structure_id };
            importer.add(imported).await.map_err(failed)?;
        }
    }
}

fn compare(held: &[ProjectContents], replayed: &[ProjectContents]) -> Result<(), ReplayError> {
    for held in held {
        let found = replayed.iter().find(|found| found.project == held.project);
        let of = |contents: &ProjectContents| {
            let ProjectContents { events, events_sha256, runs, runs_sha256, .. } = contents;
            [("events", format!("{events} ({events_sha256})")), ("runs", format!("{runs} ({runs_sha256})"))]
        };
        let none = || [("events", "none".to_owned()), ("runs", "none".to_owned())];
        for ((what, held_of), (_, replayed)) in of(held).into_iter().zip(found.map_or_else(none, of)) {
            if held_of != replayed {
                let project = held.project.clone();
                return Err(ReplayError::Differs { project, what, held: held_of, replayed });
            }
        }
    }
    Ok(())
}
