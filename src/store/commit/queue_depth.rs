//! Number of queued appends, and wake-ups of the committer at a threshold.

use std::sync::atomic::{AtomicIsize, Ordering::SeqCst};

use tokio::sync::Notify;

use crate::store::Latch;

/// Counter of queued appends with a threshold (`mark`): the committer is woken when the counter reaches the threshold,
/// not for every append.
#[derive(Debug)]
pub struct QueueDepth {
    waiting: AtomicIsize,
    mark: AtomicIsize,
    reached: Notify,
    closing: Latch,
}

impl QueueDepth {
    /// An empty queue.
    pub fn new(closing: Latch) -> Self {
        Self { waiting: AtomicIsize::new(0), mark: AtomicIsize::new(isize::MAX), reached: Notify::new(), closing }
    }

    /// Whether the queue is empty and open, so there is time for maintenance.
    pub fn is_idle(&self) -> bool {
        self.waiting.load(SeqCst) <= 0 && !self.closing.is_set()
    }

    /// Counts an append that was put into the queue.
    pub fn inc(&self) {
        if self.waiting.fetch_add(1, SeqCst) + 1 >= self.mark.load(SeqCst) {
            self.reached.notify_one();
        }
    }

    /// Counts appends that were taken from the queue.
    pub fn dec(&self, appends: usize) {
        self.waiting.fetch_sub(isize::try_from(appends).unwrap_or(isize::MAX), SeqCst);
    }

    /// Number of queued appends, about.
    pub fn queued(&self) -> usize {
        usize::try_from(self.waiting.load(SeqCst)).unwrap_or_default()
    }

    /// Waits until `appends` appends are queued, at least one.
    pub async fn wait_for(&self, appends: usize) {
        let appends = isize::try_from(appends.max(1)).unwrap_or(isize::MAX);
        self.mark.store(appends, SeqCst);
        while self.waiting.load(SeqCst) < appends {
            self.reached.notified().await;
        }
        self.mark.store(isize::MAX, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_three_is_woken_by_the_third() {
        let depth = Arc::new(QueueDepth::new(Latch::default()));
        // A waiter that was dropped.
        assert!(poll!(Box::pin(depth.wait_for(1))).is_pending());
        depth.inc();
        let mut reached = Box::pin(depth.wait_for(3));
        assert!(poll!(&mut reached).is_pending() && !depth.is_idle());
        depth.inc();
        assert!(poll!(&mut reached).is_pending());
        depth.inc();
        assert!(poll!(&mut reached).is_ready());
        depth.dec(3);
        assert!(depth.is_idle());
    }
}
