//! Requests to flush the unindexed tail before a flush is due: only flushed rows of the log can be rewritten.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A request that waits for the committer, shared by the committer and those who ask.
#[derive(Debug, Default)]
pub struct FlushRequests {
    is_wanted: AtomicBool,
    wanted: Notify,
}

impl FlushRequests {
    /// Asks for a flush of what is unflushed now.
    pub fn request(&self) {
        self.is_wanted.store(true, Ordering::Release);
        self.wanted.notify_one();
    }

    /// Waits for a request.
    pub async fn requested(&self) {
        self.wanted.notified().await;
    }

    /// Whether a flush was requested since the last call.
    pub fn take(&self) -> bool {
        self.is_wanted.swap(false, Ordering::AcqRel)
    }
}
