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

/// Number of ticks in a duration, rounded up, at least one.
pub fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX).max(1)
}

/// Number of ticks after which at least this time has passed: the first may come at once.
pub fn ticks_past(time: Duration) -> u64 {
    ticks(time).saturating_add(1)
}
