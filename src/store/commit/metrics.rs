//! Metrics of commits, the same for every store.

use std::time::Duration;

use crate::telemetry;

/// Counts a commit of new events.
pub fn committed(took: Duration, events: u32) {
    telemetry::PUBLISHED_EVENTS.add(u64::from(events));
    telemetry::COMMIT_EVENTS.record_count(events);
    telemetry::COMMIT_SECONDS.record(took);
}
