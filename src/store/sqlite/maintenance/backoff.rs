//! Pauses between attempts at failing maintenance, so that commits run at full speed meanwhile.

use std::time::Duration;

use crate::telemetry;
use tokio::time::Instant;

/// Pause after the first failure; doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Backoff of one kind of work. An outage lasts from the first failure to the next success.
#[derive(Debug)]
pub struct Backoff {
    work: &'static str,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    pause: Duration,
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
                let pause = match outage {
                    Some(outage) => (outage.pause * 2).min(MAX_PAUSE),
                    None => {
                        tracing::warn!(work, %error, "maintenance of the store failed; it is tried again after later commits");
                        FIRST_PAUSE
                    }
                };
                *outage = Some(Outage { pause, until: Instant::now() + pause });
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
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(backoff.allows() && backoff.is_outage());
        }
        backoff.record::<_, &str>(&Ok(()));
        assert!(!backoff.is_outage());
        backoff.record::<(), _>(&Err("no"));
        tokio::time::advance(FIRST_PAUSE).await;
        assert!(backoff.allows(), "a new outage begins with the first pause");
    }
}
