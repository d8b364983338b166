//! Retention: removes events that are not kept any more, in slices while the server serves.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::KeepOptions;
use crate::domain::{Error, ProjectId, Result};
use crate::store::{Expired, ProjectNumber, SharedStore};
use crate::telemetry;

use super::pace::Pace;

/// Time after which a project is examined from its first event on again: a run may have got another status.
const FULL_PASS: Duration = Duration::from_secs(24 * 60 * 60);

/// Most time in which a pass is to have removed what is due, and after which it works faster; less with a shorter interval.
const MAX_PASS: Duration = Duration::from_secs(10 * 60);

/// Pause while another replica examines the project.
const ELSEWHERE: Duration = Duration::from_secs(1);

/// Progress in one project.
struct Progress {
    place: Place,
    /// The present pass, if it has not come to its end.
    pass: Option<Pass>,
}

/// Place in the feed of a project.
#[derive(Debug)]
struct Place {
    /// Position up to which the events are examined.
    examined: u64,
    /// Time at which the examination began at the first event.
    began: Instant,
    /// Releases of runs by the last slice; `None`: before the first one.
    releases: Option<u64>,
    /// Whether a run was released since the examination began at the first event.
    is_released: bool,
}

/// A pass over a project.
struct Pass {
    pace: Pace,
    /// Whether no slice of it has succeeded yet.
    is_new: bool,
    /// Begin of the failures since the last slice that succeeded.
    failing: Option<Instant>,
    /// Halvings of the pauses that the log has named.
    named: u32,
    removed: u64,
}

impl Place {
    fn new() -> Self {
        Self { examined: 0, began: Instant::now(), releases: None, is_released: false }
    }

    /// Begins at the first event again.
    fn restart(&mut self) {
        (self.examined, self.began, self.is_released) = (0, Instant::now(), false);
    }

    /// Goes on after a slice. Returns whether its pass is at the end. After a release the next pass begins at the first event, or the
    /// present one if this was its first slice: releases, however frequent, keep no pass from its end.
    fn advance(&mut self, slice: &Expired, is_first: bool) -> bool {
        self.examined = slice.examined;
        self.is_released |= self.releases.replace(slice.releases).is_some_and(|before| before != slice.releases);
        let is_restarted = self.is_released && (is_first || slice.is_done);
        if is_restarted {
            self.restart();
        }
        slice.is_done && !(is_restarted && is_first)
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
            let of_project = progress.entry(number).or_insert_with(|| Progress { place: Place::new(), pass: None });
            if of_project.pass.is_none() && of_project.place.began.elapsed() > FULL_PASS {
                of_project.place.restart();
            }
            match turn(&store.in_project(number), &options, &id, of_project).await {
                Ok(is_done) => are_done &= is_done,
                Err(Error::ShuttingDown) => return,
                Err(error) => {
                    of_project.pass.iter_mut().for_each(Pass::fail);
                    tracing::warn!(%error, project = %id, "retention could not go on; it tries again");
                }
            }
        }
        telemetry::RETENTION_PASS_SECONDS.set(longest(&progress).as_secs());
        if are_done {
            tokio::time::sleep(options.retain_interval).await;
        }
    }
}

/// Longest delay of a pass that has not come to its end.
fn longest(progress: &HashMap<ProjectNumber, Progress>) -> Duration {
    progress.values().filter_map(|of_project| of_project.pass.as_ref().map(Pass::delay)).max().unwrap_or_default()
}

/// Examines a project up to the first event that is young enough. Returns whether it has come so far in one turn: the other projects
/// have theirs.
async fn turn(store: &SharedStore, options: &KeepOptions, id: &ProjectId, progress: &mut Progress) -> Result<bool> {
    let retention = options.of(id);
    if !retention.removes() {
        return Ok(true);
    }
    let time = options.retain_interval.min(MAX_PASS);
    let Progress { place, pass: present } = progress;
    let pass = present.get_or_insert_with(|| Pass::new(time));
    let turn = Instant::now();
    while turn.elapsed() < time {
        let began = Instant::now();
        let slice = store.expire(&retention, Timestamp::now(), place.examined).await?;
        pass.failing = None;
        if slice.is_elsewhere {
            tokio::time::sleep(ELSEWHERE).await;
            return Ok(false);
        }
        pass.removed += slice.events;
        telemetry::EXPIRED_EVENTS.add(slice.events);
        telemetry::EXPIRED_BYTES.add(slice.bytes);
        if place.advance(&slice, std::mem::take(&mut pass.is_new)) {
            pass.end(id);
            *present = None;
            return Ok(true);
        }
        pass.pace.pause_after(began, slice.is_changed).await;
        pass.name_delay(id, place.examined);
    }
    Ok(false)
}

impl Pass {
    fn new(time: Duration) -> Self {
        Self { pace: Pace::new(time), is_new: true, failing: None, named: 0, removed: 0 }
    }

    fn fail(&mut self) {
        self.failing.get_or_insert_with(Instant::now);
    }

    /// Time of removals, and of failures since the last slice that succeeded.
    fn delay(&self) -> Duration {
        self.pace.worked() + self.failing.map(|since| since.elapsed()).unwrap_or_default()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(examined: u64, releases: u64, is_done: bool) -> Expired {
        Expired { examined, releases, is_done, ..Expired::default() }
    }

    #[tokio::test]
    async fn a_release_makes_the_next_pass_begin_at_the_first_event_and_lets_the_present_one_end() {
        let mut place = Place::new();
        assert!(!place.advance(&slice(500, 7, false), true));
        for releases in 8..20 {
            assert!(!place.advance(&slice(500 * releases, releases, false), false));
            assert_eq!(place.examined, 500 * releases, "the pass goes on");
        }
        assert!(place.advance(&slice(9_999, 20, true), false));
        assert_eq!(place.examined, 0);
        assert!(place.advance(&slice(9_999, 20, true), true), "once");
        assert_eq!(place.examined, 9_999);
    }

    #[tokio::test]
    async fn a_release_between_two_passes_is_found_by_the_next_one() {
        let mut place = Place::new();
        assert!(place.advance(&slice(100, 0, true), true));
        assert!(!place.advance(&slice(100, 1, true), true), "the pass begins again");
        assert_eq!(place.examined, 0);
        assert!(place.advance(&slice(100, 1, true), false));
        assert_eq!(place.examined, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_whose_slices_all_fail_is_late() {
        let mut pass = Pass::new(MAX_PASS);
        assert_eq!(pass.delay(), Duration::ZERO);
        for _ in 0..3 {
            pass.fail();
            tokio::time::advance(FULL_PASS).await;
        }
        assert_eq!(pass.delay(), 3 * FULL_PASS);
    }
}
