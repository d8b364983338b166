//! Retention: removes events that are not kept any more, in slices while the server serves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::KeepOptions;
use crate::domain::{Error, ProjectId, Result};
use crate::store::{ProjectNumber, SharedStore};
use crate::telemetry;

use super::pace::pause_after;

/// Time after which a project is examined from its first event on again: a run may have got another status.
const FULL_PASS: Duration = Duration::from_secs(24 * 60 * 60);

/// Progress in one project.
struct Progress {
    /// Position up to which the events are examined.
    examined: u64,
    /// Time at which the examination began at the first event.
    began: Instant,
    /// Releases of runs by the last slice; `None`: before the first one.
    releases: Option<u64>,
}

impl Progress {
    fn begin() -> Self {
        Self { examined: 0, began: Instant::now(), releases: None }
    }
}

/// Runs passes at the interval of the options. Never ends.
pub async fn run(store: SharedStore, options: KeepOptions) {
    if !options.removes() {
        return std::future::pending().await;
    }
    let mut progress: HashMap<ProjectNumber, Progress> = HashMap::new();
    loop {
        for (id, number) in store.projects() {
            let of_project = progress.entry(number).or_insert_with(Progress::begin);
            if of_project.began.elapsed() > FULL_PASS {
                *of_project = Progress::begin();
            }
            match pass(&store.in_project(number), &options, &id, of_project).await {
                Ok(()) => {}
                Err(Error::ShuttingDown) => return,
                Err(error) => tracing::warn!(%error, project = %id, "retention could not go on; it tries again"),
            }
        }
        tokio::time::sleep(options.retain_interval).await;
    }
}

/// Examines a project up to the first event that is young enough.
async fn pass(store: &SharedStore, options: &KeepOptions, id: &ProjectId, progress: &mut Progress) -> Result<()> {
    let retention = options.of(id);
    if !retention.removes() {
        return Ok(());
    }
    let mut removed = 0;
    loop {
        let began = Instant::now();
        let slice = store.expire(&retention, Timestamp::now(), progress.examined).await?;
        progress.examined = slice.examined;
        removed += slice.events;
        telemetry::EXPIRED_EVENTS.add(slice.events);
        telemetry::EXPIRED_BYTES.add(slice.bytes);
        let is_released = progress.releases.replace(slice.releases).is_some_and(|before| before != slice.releases);
        if is_released {
            *progress = Progress::begin();
        } else if slice.is_done {
            break;
        }
        pause_after(began).await;
    }
    if removed > 0 {
        tracing::info!(events = removed, project = %id, "retention removed events");
    }
    Ok(())
}
