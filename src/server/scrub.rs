//! The scrub: a slow comparison of all rows of the log with their checksums while the server serves.

use std::collections::HashSet;
use std::time::Duration;

use crate::store::SharedStore;
use crate::telemetry;

/// Pause between two passes, and after a failed read.
const PAUSE: Duration = Duration::from_secs(60);

/// Damaged rows that are remembered, so that later passes do not log the same damage again.
const MAX_REMEMBERED: usize = 10_000;

/// Reads the log over and over at `bytes_per_second` of event bytes; 0 turns the scrub off. Never ends.
pub async fn run(store: SharedStore, bytes_per_second: usize) {
    if bytes_per_second == 0 {
        return std::future::pending().await;
    }
    let (mut next, mut damaged, mut logged) = (0, 0, HashSet::new());
    loop {
        let part = match store.scrub(next).await {
            Ok(part) => part,
            Err(error) => {
                tracing::warn!(%error, after = next, "the scrub could not read on; it tries again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        telemetry::SCRUBBED_ROWS.add(part.rows);
        damaged += part.damaged.len();
        for row in part.damaged {
            if logged.len() < MAX_REMEMBERED && logged.insert(row.clone()) {
                tracing::error!(row, "the scrub found damage; its events are not served");
            }
        }
        telemetry::SCRUB_DAMAGED_ROWS.set(damaged as u64);
        let pause = Duration::from_secs_f64(part.bytes as f64 / bytes_per_second as f64);
        match part.next {
            Some(position) => next = position,
            None => (next, damaged) = (0, 0),
        }
        tokio::time::sleep(if next == 0 { PAUSE.max(pause) } else { pause }).await;
    }
}
