//! Pauses between attempts at failing maintenance, so that commits run at full speed meanwhile.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

use crate::telemetry;

const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Pauses after the failures of an outage.
const PAUSES: ExponentialBuilder =
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(100)).with_max_delay(MAX_PAUSE).without_max_times();

/// Backoff of one kind of work. An outage lasts from the first failure to the next success.
#[derive(Debug)]
pub struct Backoff {
    work: &'static str,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    pauses: ExponentialBackoff,
    until: Instant,
}

impl Backoff {
    /// For work of this name, without a failure so far.
    pub fn new(work: &'static str) -> Self {
        Self { work, outage: None }
    }

    /// Whether the work may be tried now.
    pub fn allows(&self) -> bool {
        self.outage.as_ref().is_none_or(|outage| Instant::now() >= outage.until)
    }

    pub fn is_outage(&self) -> bool {
        self.outage.is_some()
    }

    /// Records the result of an attempt; logs start and end of an outage.
    pub fn record<T, E: std::fmt::Display>(&mut self, result: &Result<T, E>) {
        let work = self.work;
        match (result, &mut self.outage) {
            (Ok(_), None) => {}
            (Ok(_), Some(_)) => {
                tracing::info!(work, "maintenance of the store works again");
                self.outage = None;
            }
            (Err(error), outage) => {
                telemetry::SQLITE_MAINTENANCE_FAILURES.add_one(&[("work", work)]);
                let outage = outage.get_or_insert_with(|| {
                    tracing::warn!(work, %error, "maintenance of the store failed; it is tried again after later commits");
                    Outage { pauses: PAUSES.build(), until: Instant::now() }
                });
                outage.until = Instant::now() + outage.pauses.next().unwrap_or(MAX_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_bound_and_end_with_the_first_success() {
        let mut backoff = Backoff::new("test");
        assert!(backoff.allows() && !backoff.is_outage());
        for pause in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
            backoff.record::<(), _>(&Err("no"));
            tokio::time::advance(Duration::from_millis(pause - 1)).await;
            assert!(!backoff.allows(), "{pause} ms");
            // The library counts in 32-bit floating point, so the pause may be some nanoseconds longer.
            tokio::time::advance(Duration::from_millis(2)).await;
            assert!(backoff.allows() && backoff.is_outage());
        }
        backoff.record::<_, &str>(&Ok(()));
        assert!(!backoff.is_outage());
        backoff.record::<(), _>(&Err("no"));
        tokio::time::advance(Duration::from_millis(100)).await;
        assert!(backoff.allows(), "a new outage begins with the first pause");
    }
}
