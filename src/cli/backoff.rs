//! Delays between the attempts of a client.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Sleep;

use super::outcome::Failure;

const MAX_DELAY: Duration = Duration::from_secs(5);

/// Without jitter: from 0.05 s to 2.5 s. The jitter adds up to the same again, so that many clients do not reconnect at the
/// same moment.
const DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(50))
    .with_max_delay(Duration::from_millis(2_500))
    .without_max_times()
    .with_jitter();

/// Exponential backoff, up to [`MAX_DELAY`].
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        Self(DELAYS.build())
    }
}

impl Backoff {
    /// The pause before the next attempt. `say` prints the failure and the length of the pause.
    pub fn pause(&mut self, failure: &Failure, say: impl FnOnce(&str)) -> Sleep {
        let delay = self.next_delay();
        say(&format!("-- {}; trying again in {:.1} s", failure.message, delay.as_secs_f64()));
        tokio::time::sleep(delay)
    }

    fn next_delay(&mut self) -> Duration {
        self.0.next().map_or(MAX_DELAY, |delay| delay.min(MAX_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_bounded() {
        let mut backoff = Backoff::default();
        for full in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000].map(Duration::from_millis) {
            let delay = backoff.next_delay();
            // The library counts in 32-bit floating point.
            let rounding = Duration::from_micros(1);
            assert!(delay >= full / 2 - rounding && delay <= full + rounding, "{delay:?} of {full:?}");
        }
    }
}
