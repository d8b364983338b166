//! Publishers that wait for space in the commit queue. What waits in the queue for something else must not wait any longer
//! then.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

/// Counter of the publishers that wait for space, with a signal for each that begins.
#[derive(Debug, Default)]
pub struct Backpressure {
    publishers: AtomicUsize,
    begins: Notify,
}

/// The wait of one publisher; ends when dropped.
#[derive(Debug)]
pub struct Waiting<'a>(&'a Backpressure);

impl Backpressure {
    /// Counts a publisher until the guard is dropped.
    pub fn begin(&self) -> Waiting<'_> {
        self.publishers.fetch_add(1, SeqCst);
        self.begins.notify_one();
        Waiting(self)
    }

    /// Whether a publisher waits for space.
    pub fn is_on(&self) -> bool {
        self.publishers.load(SeqCst) > 0
    }

    /// Resolves after a publisher has begun to wait since the last call. Its wait may be over by then.
    pub async fn begun(&self) {
        self.begins.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.publishers.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn it_is_on_while_a_publisher_waits_and_each_begin_is_signalled() {
        let backpressure = Backpressure::default();
        assert!(poll!(Box::pin(backpressure.begun())).is_pending() && !backpressure.is_on());
        let (first, second) = (backpressure.begin(), backpressure.begin());
        drop(first);
        assert!(poll!(Box::pin(backpressure.begun())).is_ready() && backpressure.is_on());
        drop(second);
        assert!(poll!(Box::pin(backpressure.begun())).is_pending() && !backpressure.is_on());
    }
}
