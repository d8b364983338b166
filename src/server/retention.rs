//! Retention: removes events that are not kept any more, in slices while the server serves.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::config::KeepOptions;
use crate::domain::{Error, ProjectId, Result};
use crate::service::Service;
use crate::store::{ProjectNumber, SharedStore};
use crate::telemetry;

use super::pace::pause_after;

/// Time after which a project is examined from its first event on again: a run may have got another status, or was released.
const FULL_PASS: Duration = Duration::from_secs(24 * 60 * 60);

/// Progress in one project.
struct Progress {
    /// Position up to which the events are examined.
    examined: u64,
    /// Time at which the examination began at the first event.
    began: Instant,
}

/// Runs passes at the interval of the options. Never ends.
pub async fn run(store: SharedStore, service: Service, options: KeepOptions) {
    if !options.removes() {
        return std::future::pending().await;
    }
    let mut progress: HashMap<ProjectNumber, Progress> = HashMap::new();
    let mut releases = service.releases();
    loop {
        if service.releases() != releases {
            releases = service.releases();
            progress.clear();
        }
        for (id, number) in store.projects() {
            let of_project = progress.entry(number).or_insert_with(|| Progress { examined: 0, began: Instant::now() });
            if of_project.began.elapsed() > FULL_PASS {
                *of_project = Progress { examined: 0, began: Instant::now() };
            }
            match pass(&store.in_project(number), &options, &id, &mut of_project.examined).await {
                Ok(()) => {}
                Err(Error::ShuttingDown) => return,
                Err(error) => tracing::warn!(%error, project = %id, "retention could not go on; it tries again"),
            }
        }
        tokio::time::sleep(options.retain_interval).await;
    }
}

/// Examines a project up to the first event that is young enough.
async fn pass(store: &SharedStore, options: &KeepOptions, id: &ProjectId, examined: &mut u64) -> Result<()> {
    let retention = options.of(id);
    if !retention.removes() {
        return Ok(());
    }
    let mut removed = 0;
    loop {
        let began = Instant::now();
        let slice = store.expire(&retention, Timestamp::now(), *examined).await?;
        *examined = slice.examined;
        removed += slice.events;
        telemetry::EXPIRED_EVENTS.add(slice.events);
        telemetry::EXPIRED_BYTES.add(slice.bytes);
        if slice.is_done {
            break;
        }
        pause_after(began).await;
    }
    if removed > 0 {
        tracing::info!(events = removed, project = %id, "retention removed events");
    }
    Ok(())
}
