//! The permits of `--max-subscriptions`.

use tokio::sync::OwnedSemaphorePermit;

use crate::telemetry;

/// A permit of `--max-subscriptions`, counted in the metric of open subscriptions.
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub fn take(permit: OwnedSemaphorePermit) -> Self {
        telemetry::SUBSCRIPTIONS.handle().increment(1);
        Self { _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        telemetry::SUBSCRIPTIONS.handle().decrement(1);
    }
}
