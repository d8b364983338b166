//! Limits of the commit queue and of the groups that are taken from it.

use std::time::Duration;

/// Limits of the queue and of a group. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Maximum number of events in one commit.
    pub max_commit_events: usize,
    /// Payload bytes after which a group takes no further append.
    pub max_commit_bytes: usize,
    /// Maximum number of queued events.
    pub queue_events: usize,
    /// Maximum number of queued payload bytes.
    pub queue_bytes: usize,
    /// Maximum wait of a publish for space in the queue.
    pub queue_wait: Duration,
    /// Maximum wait of deltas for further deltas of the same commit. Zero: no append waits.
    pub coalesce_deltas: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            max_commit_events: 4_096,
            max_commit_bytes: 4 << 20,
            queue_events: 65_536,
            queue_bytes: 64 << 20,
            queue_wait: Duration::from_secs(5),
            coalesce_deltas: Duration::ZERO,
        }
    }
}
