//! Progress bar of a workload with the remaining time, on stderr and only on a terminal.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::task::JoinHandle;

use crate::cli::output::progress;
use crate::config::as_millis;

/// Interval between updates of the bar.
const TICK: Duration = Duration::from_millis(200);

/// Progress bar of one stage of a workload. A drop clears the bar from the screen.
pub struct Bar {
    bar: ProgressBar,
    clock: Option<JoinHandle<()>>,
}

impl Bar {
    /// A stage with a fixed duration.
    pub fn timed(name: &str, time: Duration) -> Self {
        let bar = progress::bar(Some(as_millis(time))).with_message(name.to_owned());
        let (moving, began) = (bar.clone(), Instant::now());
        let clock = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                moving.set_position(as_millis(began.elapsed().min(time)));
            }
        });
        Self { bar, clock: Some(clock) }
    }

    /// A stage with a fixed number of steps.
    pub fn counted(name: &str, steps: u64) -> Self {
        Self { bar: progress::bar(Some(steps)).with_message(name.to_owned()), clock: None }
    }

    /// Advances the bar by `steps`.
    pub fn add(&self, steps: u64) {
        self.bar.inc(steps);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(clock) = &self.clock {
            clock.abort();
        }
        self.bar.finish_and_clear();
    }
}
