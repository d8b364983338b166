//! Trying again: for how long, and how soon.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::postgres::error::Fault;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The retry_policy of one piece of work.
pub struct RetryPolicy {
    until: Instant,
    pause: Duration,
}

impl RetryPolicy {
    /// Until this moment.
    pub fn until(until: Instant) -> Self {
        Self { until, pause: FIRST_PAUSE }
    }

    /// How much of the time is left.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether to try once more, after a pause that grows; false when the fault stays or the time is over.
    pub async fn again(&mut self, fault: &Fault) -> bool {
        fault.is_transient() && self.wait(fault).await
    }

    /// The same, also where the fault stays.
    pub async fn wait(&mut self, fault: &Fault) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        tracing::warn!(?fault, "PostgreSQL: trying again");
        // Replicas that failed together do not come back together.
        let jitter = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        tokio::time::sleep(self.pause.mul_f64(0.5 + jitter / 2.0)).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}
