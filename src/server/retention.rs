//! Retention: removes events that are not kept any more, in slices while the server serves.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::KeepOptions;
use crate::domain::{Error, ProjectId, Result};
use crate::store::{ProjectNumber, SharedStore};
use crate::telemetry;

use super::pace::Pace;

/// Time after which a project is examined from its first event on again: a run may have got another status.
const FULL_PASS: Duration = Duration::from_secs(24 * 60 * 60);

/// Most time in which a pass is to have removed what is due, and after which it works faster; less with a shorter interval.
const MAX_PASS: Duration = Duration::from_secs(10 * 60);

/// Progress in one project.
struct Progress {
    /// Position up to which the events are examined.
    examined: u64,
    /// Time at which the examination began at the first event.
    began: Instant,
    /// Releases of runs by the last slice; `None`: before the first one.
    releases: Option<u64>,
    /// The present pass, if it has not come to its end.
    pass: Option<Pass>,
}

/// A pass over a project.
struct Pass {
    pace: Pace,
    /// Halvings of the pauses that the log has named.
    named: u32,
    removed: u64,
}

impl Progress {
    fn new() -> Self {
        Self { examined: 0, began: Instant::now(), releases: None, pass: None }
    }

    /// Begins at the first event again.
    fn restart(&mut self) {
        (self.examined, self.began) = (0, Instant::now());
    }
}

/// Runs passes at the interval of the options. Never ends.
pub async fn run(store: SharedStore, options: KeepOptions) {
    if !options.removes() {
        return std::future::pending().await;
    }
    let mut progress: HashMap<ProjectNumber, Progress> = HashMap::new();
    loop {
        let mut are_done = true;
        for (id, number) in store.projects() {
            let of_project = progress.entry(number).or_insert_with(Progress::new);
            if of_project.pass.is_none() && of_project.began.elapsed() > FULL_PASS {
                of_project.restart();
            }
            match turn(&store.in_project(number), &options, &id, of_project).await {
                Ok(is_done) => are_done &= is_done,
                Err(Error::ShuttingDown) => return,
                Err(error) => tracing::warn!(%error, project = %id, "retention could not go on; it tries again"),
            }
        }
        telemetry::RETENTION_PASS_SECONDS.set(longest(&progress).as_secs());
        if are_done {
            tokio::time::sleep(options.retain_interval).await;
        }
    }
}

/// Longest work of a pass that has not come to its end.
fn longest(progress: &HashMap<ProjectNumber, Progress>) -> Duration {
    let times = progress.values().filter_map(|of_project| of_project.pass.as_ref().map(|pass| pass.pace.worked()));
    times.max().unwrap_or_default()
}

/// Examines a project up to the first event that is young enough. Returns whether it has come so far in one turn: the other projects
/// have theirs.
async fn turn(store: &SharedStore, options: &KeepOptions, id: &ProjectId, progress: &mut Progress) -> Result<bool> {
    let retention = options.of(id);
    if !retention.removes() {
        return Ok(true);
    }
    let time = options.retain_interval.min(MAX_PASS);
    let pass = progress.pass.get_or_insert_with(|| Pass { pace: Pace::new(time), named: 0, removed: 0 });
    let turn = Instant::now();
    while turn.elapsed() < time {
        let began = Instant::now();
        let slice = store.expire(&retention, Timestamp::now(), progress.examined).await?;
        progress.examined = slice.examined;
        pass.removed += slice.events;
        telemetry::EXPIRED_EVENTS.add(slice.events);
        telemetry::EXPIRED_BYTES.add(slice.bytes);
        let is_released = progress.releases.replace(slice.releases).is_some_and(|before| before != slice.releases);
        if is_released {
            (progress.examined, progress.began) = (0, Instant::now());
        } else if slice.is_done {
            pass.end(id);
            progress.pass = None;
            return Ok(true);
        }
        pass.pace.pause_after(began, slice.events > 0).await;
        pass.name_delay(id, progress.examined);
    }
    Ok(false)
}

impl Pass {
    fn name_delay(&mut self, project: &ProjectId, examined: u64) {
        let halvings = self.pace.halvings();
        if halvings > self.named {
            self.named = halvings;
            let seconds = self.pace.worked().as_secs();
            tracing::warn!(%project, seconds, examined, removed = self.removed, "retention is behind; it pauses for less");
        }
    }

    fn end(&self, project: &ProjectId) {
        if self.named > 0 {
            let seconds = self.pace.worked().as_secs();
            tracing::info!(%project, seconds, "retention has caught up");
        }
        if self.removed > 0 {
            tracing::info!(events = self.removed, %project, "retention removed events");
        }
    }
}
