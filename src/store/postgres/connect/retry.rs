//! Retries with exponential backoff and a deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::postgres::error::Fault;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Retry state of one operation.
pub struct RetryPolicy {
    until: Instant,
    pause: Duration,
}

impl RetryPolicy {
    /// Retries until this deadline.
    pub fn until(until: Instant) -> Self {
        Self { until, pause: FIRST_PAUSE }
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
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        tracing::warn!(?fault, "PostgreSQL: trying again");
        // Jitter keeps replicas that failed together from retrying together.
        let jitter = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        tokio::time::sleep(self.pause.mul_f64(0.5 + jitter / 2.0)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}
