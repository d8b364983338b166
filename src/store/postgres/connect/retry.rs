//! Retries with exponential backoff and a deadline.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use crate::store::postgres::error::Fault;

/// Without jitter: from 5 ms to 250 ms. The jitter adds up to the same again and keeps replicas that failed together from
/// retrying together.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(5))
    .with_max_delay(Duration::from_millis(250))
    .without_max_times()
    .with_jitter();

/// Retry state of one operation.
pub struct RetryPolicy {
    until: Instant,
    pauses: ExponentialBackoff,
}

impl RetryPolicy {
    /// Retries until this deadline.
    pub fn until(until: Instant) -> Self {
        Self { until, pauses: PAUSES.build() }
    }

    /// Time until the deadline.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Waits and returns true if the fault is transient and the deadline allows another attempt.
    pub async fn again(&mut self, fault: &Fault) -> bool {
        fault.is_transient() && self.wait(fault).await
    }

    /// Waits and returns true if the deadline allows another attempt, also for a fault that is not transient.
    pub async fn wait(&mut self, fault: &Fault) -> bool {
        let Some(pause) = self.pauses.next().filter(|pause| *pause < self.left()) else { return false };
        tracing::warn!(?fault, "PostgreSQL: trying again");
        tokio::time::sleep(pause).await;
        true
    }
}
