//! Limits of each key: requests, events, bytes and open streams.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::rate::Rate;
use crate::domain::access::{Excess, RateLimit};
use crate::domain::{Error, Result};
use crate::telemetry;

/// Delay after which a caller with too many open streams may retry: nobody knows when one of them ends.
const RETRY_STREAM: Duration = Duration::from_secs(5);

/// Time until a refusal is answered. A caller that repeats at once, against the delay that it was given, spends its time here
/// instead of the server's.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);

/// Most refusals of one key that are delayed at a time; more are answered at once, so that they hold no memory.
const MAX_DELAYED: usize = 256;

/// Most bytes of payload of a publish whose refusal is delayed.
const MAX_DELAYED_BYTES: usize = 4 << 10;

/// Limits of each key and of each address, from the options of `runlog serve`. 0: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccessLimits {
    /// Requests of one key in a second.
    pub requests: u64,
    /// Events that one key publishes in a second.
    pub events: u64,
    /// Bytes of payload that one key publishes in a second.
    pub bytes: u64,
    /// Open streams of one key.
    pub streams: usize,
    /// Most events and bytes of one request: a key may always publish so much at once.
    pub request_events: u64,
    /// See `request_events`.
    pub request_bytes: u64,
    /// Keys from one address in a minute that are not valid.
    pub failed_keys: u64,
}

/// What one key has left of its limits.
#[derive(Debug)]
pub struct KeyLimits {
    most: AccessLimits,
    requests: Option<Rate>,
    events: Option<Rate>,
    bytes: Option<Rate>,
    streams: Option<Arc<Semaphore>>,
    delayed: Semaphore,
}

/// An open stream within the limit of its key.
#[derive(Debug)]
pub struct StreamPlace {
    _permit: Option<OwnedSemaphorePermit>,
}

impl KeyLimits {
    /// The unused limits of one key.
    #[must_use]
    pub fn new(most: AccessLimits) -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            most,
            requests: Rate::new(most.requests, SECOND, 0),
            events: Rate::new(most.events, SECOND, most.request_events),
            bytes: Rate::new(most.bytes, SECOND, most.request_bytes),
            streams: (most.streams > 0).then(|| Arc::new(Semaphore::new(most.streams))),
            delayed: Semaphore::new(MAX_DELAYED),
        }
    }

    /// Counts a request. A refusal is to be answered after [`delay`](Self::delay).
    pub fn request(&self) -> Result<()> {
        take(self.requests.as_ref(), 1, RateLimit::Requests, self.most.requests)
    }

    /// Counts events that are about to be stored. A refusal comes late, see [`delay`](Self::delay).
    pub async fn publish(&self, events: usize, bytes: impl FnOnce() -> usize) -> Result<()> {
        if self.events.is_none() && self.bytes.is_none() {
            return Ok(());
        }
        let bytes = bytes();
        let refused = take(self.events.as_ref(), events as u64, RateLimit::Events, self.most.events)
            .and_then(|()| take(self.bytes.as_ref(), bytes as u64, RateLimit::Bytes, self.most.bytes));
        // A large request is held in memory until its answer.
        if refused.is_err() && bytes <= MAX_DELAYED_BYTES {
            self.delay().await;
        }
        refused
    }

    /// Waits before a refusal is answered, so that a caller that repeats at once costs the others little.
    pub async fn delay(&self) {
        if let Ok(_place) = self.delayed.try_acquire() {
            tokio::time::sleep(REFUSAL_DELAY).await;
        }
    }

    /// Takes a place for a stream, until the place is dropped. A refusal comes late, see [`delay`](Self::delay).
    pub async fn stream(&self) -> Result<StreamPlace> {
        let Some(streams) = &self.streams else { return Ok(StreamPlace { _permit: None }) };
        if let Ok(permit) = Arc::clone(streams).try_acquire_owned() {
            return Ok(StreamPlace { _permit: Some(permit) });
        }
        self.delay().await;
        Err(exceeded(RateLimit::Streams, self.most.streams as u64, RETRY_STREAM))
    }

    /// Time after which an unused key has its whole limits back.
    #[must_use]
    pub fn recovery(&self) -> Duration {
        let rates = [&self.requests, &self.events, &self.bytes];
        rates.into_iter().flatten().map(Rate::recovery).max().unwrap_or_default()
    }
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self::new(AccessLimits::default())
    }
}

fn take(rate: Option<&Rate>, amount: u64, limit: RateLimit, quota: u64) -> Result<()> {
    let Some(rate) = rate else { return Ok(()) };
    rate.take(amount).map(drop).map_err(|retry_after| exceeded(limit, quota, retry_after))
}

/// The error of a caller over its limit.
pub fn exceeded(limit: RateLimit, quota: u64, retry_after: Duration) -> Error {
    telemetry::RATE_LIMITED.add_one(&[("limit", limit.as_str())]);
    Error::RateLimited(Excess { limit, quota, retry_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(refused: Error) -> RateLimit {
        match refused {
            Error::RateLimited(excess) => excess.limit,
            other => panic!("{other}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_without_limits_is_never_refused() {
        let limits = KeyLimits::default();
        for _ in 0..10_000 {
            limits.request().unwrap();
            limits.publish(1_000, || unreachable!("nothing is counted")).await.unwrap();
            std::mem::forget(limits.stream().await.unwrap());
        }
        assert_eq!(limits.recovery(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_of_the_largest_size_passes_once_and_is_paid_back_at_the_rate() {
        let (request_events, request_bytes) = (1_000, 4_000);
        let of = |events, bytes| {
            KeyLimits::new(AccessLimits { events, bytes, request_events, request_bytes, ..AccessLimits::default() })
        };
        let events = of(1, 0);
        events.publish(1_000, || 0).await.unwrap();
        assert_eq!(limit(events.publish(500, || 0).await.unwrap_err()), RateLimit::Events);
        let bytes = of(0, 1);
        bytes.publish(1, || 4_000).await.unwrap();
        assert_eq!(limit(bytes.publish(1, || 2_000).await.unwrap_err()), RateLimit::Bytes);
        assert_eq!((events.recovery().as_secs(), bytes.recovery().as_secs()), (1_000, 4_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_comes_late_and_past_a_number_of_them_at_once() {
        let limits = KeyLimits::new(AccessLimits { events: 1, ..AccessLimits::default() });
        limits.publish(1, || 0).await.unwrap();
        let began = tokio::time::Instant::now();
        let refusals = (0..=MAX_DELAYED).map(|_| async {
            limits.publish(1, || 0).await.unwrap_err();
            began.elapsed()
        });
        let mut times = futures_util::future::join_all(refusals).await;
        let large = tokio::time::Instant::now();
        limits.publish(1, || MAX_DELAYED_BYTES + 1).await.unwrap_err();
        assert_eq!(large.elapsed(), Duration::ZERO, "it is held in memory until its answer");
        assert_eq!(times.pop(), Some(Duration::ZERO), "the one that finds no place");
        assert!(times.iter().all(|time| *time >= REFUSAL_DELAY), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_makes_room_for_another_one() {
        let limits = KeyLimits::new(AccessLimits { streams: 2, ..AccessLimits::default() });
        let (first, _second) = (limits.stream().await.unwrap(), limits.stream().await.unwrap());
        assert_eq!(limit(limits.stream().await.unwrap_err()), RateLimit::Streams);
        drop(first);
        limits.stream().await.unwrap();
    }
}
