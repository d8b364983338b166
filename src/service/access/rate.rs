//! A rate with a burst (GCRA).

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

/// Most cells of a quota in one window. A cell then comes back after a microsecond or more, and since the limiter counts whole
/// nanoseconds the rate is exact to a thousandth.
const MAX_CELLS: u64 = 1_000_000;

/// A rate with a burst. Takes no lock.
#[derive(Debug)]
pub struct Rate {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    /// Amount of one cell of the limiter.
    unit: u64,
    burst: NonZeroU32,
    period: Duration,
}

impl Rate {
    /// A rate of `quota` in each window, with `burst` at once if that is more than the quota. `None` for a quota of 0, which is
    /// no limit.
    #[must_use]
    pub fn new(quota: u64, window: Duration, burst: u64) -> Option<Self> {
        let unit = quota.div_ceil(MAX_CELLS).max(1);
        let cells = |amount: u64| NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX));
        let period = window / cells(quota / unit)?.get();
        let burst = cells(quota.max(burst).div_ceil(unit))?;
        let limiter = RateLimiter::direct(Quota::with_period(period)?.allow_burst(burst)).with_middleware();
        Some(Self { limiter, unit, burst, period })
    }

    /// Takes this amount, or the whole burst if the amount is more. Returns whether anything is left, or the time after which
    /// there is enough.
    pub fn take(&self, amount: u64) -> Result<bool, Duration> {
        const FITS: &str = "no more than the burst is taken";
        let cells = u32::try_from(amount.div_ceil(self.unit)).unwrap_or(u32::MAX);
        let Some(cells) = NonZeroU32::new(cells.min(self.burst.get())) else { return Ok(true) };
        match self.limiter.check_n(cells).unwrap_or_else(|_| unreachable!("{FITS}")) {
            Ok(state) => Ok(state.remaining_burst_capacity() > 0),
            Err(until) => {
                let wait = until.wait_time_from(self.limiter.clock().now());
                // Whole milliseconds, rounded up: a retry at that time is served.
                Err(Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1)))
            }
        }
    }

    /// Time after which one cell comes back.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Time after which the whole burst has come back.
    #[must_use]
    pub fn recovery(&self) -> Duration {
        self.period.saturating_mul(self.burst.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_rate_gives_its_burst_and_then_says_how_long_to_wait() {
        let rate = Rate::new(2, HOUR, 4).unwrap();
        assert_eq!((rate.take(3), rate.take(1)), (Ok(true), Ok(false)));
        let wait = rate.take(1).unwrap_err();
        assert!(wait > HOUR / 4 && wait <= HOUR / 2 + Duration::from_millis(1), "{wait:?}");
        let wait = rate.take(4).unwrap_err();
        assert!(wait > HOUR && wait <= 2 * HOUR + Duration::from_millis(1), "{wait:?}");
        assert_eq!((rate.period(), rate.recovery()), (HOUR / 2, 2 * HOUR));
    }

    #[test]
    fn an_amount_above_the_burst_takes_the_whole_burst() {
        let rate = Rate::new(1, HOUR, 10).unwrap();
        assert_eq!(rate.take(1_000), Ok(false));
        assert!(rate.take(1).is_err());
    }

    #[test]
    fn a_quota_of_zero_is_no_limit_and_a_large_one_keeps_its_rate() {
        assert!(Rate::new(0, HOUR, 10).is_none());
        for quota in [1, 999, 1_000_000, 1_000_001, 300_000_000, 16 << 30] {
            let rate = Rate::new(quota, Duration::from_secs(1), 0).unwrap();
            let second = rate.recovery().as_secs_f64();
            assert!((0.99..=1.01).contains(&second), "{quota}: {second}");
        }
    }
}
