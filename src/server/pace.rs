//! Pace of background work on the log: after each slice a pause in proportion, so that most of the disk is left to publishers.

use std::time::{Duration, Instant};

/// Pause after a slice, in times of the slice.
const PAUSE_TIMES: u32 = 9;

/// Shortest pause after a slice.
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// Pauses after a slice that began then.
pub async fn pause_after(began: Instant) {
    tokio::time::sleep((began.elapsed() * PAUSE_TIMES).max(MIN_PAUSE)).await;
}
