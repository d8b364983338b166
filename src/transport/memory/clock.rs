//! A coarse clock, which is read for every piece that is sent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How long a tick is.
pub const TICK: Duration = Duration::from_millis(250);

/// Ticks since the start.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// The ticks so far.
    pub fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// One more.
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Relaxed) + 1
    }
}

/// How many ticks a time takes, at least one.
pub fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX).max(1)
}
