//! The permits of an open subscription.

use tokio::sync::OwnedSemaphorePermit;

use crate::service::access::StreamPlace;
use crate::telemetry;

/// Permits of `--max-subscriptions` and of the streams of the key, counted in the metric of open subscriptions.
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _of_key: StreamPlace,
}

impl Place {
    pub fn take(permit: OwnedSemaphorePermit, of_key: StreamPlace) -> Self {
        telemetry::SUBSCRIPTIONS.handle().increment(1);
        Self { _permit: permit, _of_key: of_key }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        telemetry::SUBSCRIPTIONS.handle().decrement(1);
    }
}
