//! A flag that is set once, cheap to read on every call: a `CancellationToken` takes a lock each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// A flag that is set once. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Latch(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_set: AtomicBool,
    waiters: CancellationToken,
}

impl Latch {
    /// Sets the flag and wakes all waiters.
    pub fn set(&self) {
        self.0.is_set.store(true, Ordering::SeqCst);
        self.0.waiters.cancel();
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::SeqCst)
    }

    /// Waits until the flag is set.
    pub fn wait(&self) -> WaitForCancellationFuture<'_> {
        self.0.waiters.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn a_waiter_is_woken_once_the_flag_is_set_and_a_later_one_at_once() {
        let latch = Latch::default();
        let clone = latch.clone();
        let mut waits = Box::pin(clone.wait());
        assert!(poll!(&mut waits).is_pending() && !latch.is_set());
        latch.set();
        assert!(poll!(&mut waits).is_ready() && clone.is_set());
        assert!(poll!(Box::pin(latch.wait())).is_ready());
    }
}
