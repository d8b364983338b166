//! Progress bar of a workload with the remaining time, on stderr and only on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

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
        let bar = styled(name, as_millis(time));
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
        Self { bar: styled(name, steps), clock: None }
    }

    /// Advances the bar by `steps`.
    pub fn add(&self, steps: u64) {
        self.bar.inc(steps);
    }
}

fn styled(name: &str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length).with_message(name.to_owned());
    // The template is a constant and valid; an error would only mean the default style.
    if let Ok(style) = ProgressStyle::with_template("{bar:30.cyan/dim} {percent:>3} %  {msg}  {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(clock) = &self.clock {
            clock.abort();
        }
        self.bar.finish_and_clear();
    }
}
