//! A coarse clock, cheap enough for a read with every sent piece.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Length of one tick of the clock.
pub const TICK: Duration = Duration::from_millis(250);

/// Ticks since the start of the server.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Number of ticks so far.
    pub fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Advances the clock by one tick. Returns the new number.
    pub fn tick(&self) -> u64 {
        self.0.fetch_add(1, Relaxed) + 1
    }
}

/// Number of ticks in a duration, at least one.
pub fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX).max(1)
}
