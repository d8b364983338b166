//! Counting and timing.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

/// Size of a payload, bytes.
const PAYLOAD_BYTES: usize = 260;
/// Beginning of a payload. The timestamp in nanoseconds follows.
const HEAD: &[u8] = br#"{"at":"#;
/// Digits of a timestamp, enough until the year 2286.
const DIGITS: usize = 19;
/// Bytes of a received frame in which the first payload must begin.
const BEGINS_WITHIN: usize = 1_024;

/// The measured period of a workload, after the warm-up.
#[derive(Clone, Copy)]
pub struct Period {
    begin: Instant,
    end: Instant,
}

impl Period {
    /// Starts the warm-up, a quarter of the time.
    pub fn start(time: Duration) -> Self {
        let begin = Instant::now() + time / 4;
        Self { begin, end: begin + time }
    }

    /// Whether the period has not ended yet.
    pub fn is_open(&self) -> bool {
        Instant::now() < self.end
    }

    /// The end of the period.
    pub fn end(&self) -> tokio::time::Instant {
        self.end.into()
    }

    /// Length of the period, without the warm-up.
    pub fn length(&self) -> Duration {
        self.end - self.begin
    }
}

/// The figures of one worker.
#[derive(Default)]
pub struct Tally {
    pub events: u64,
    pub nanos: Vec<u64>,
}

impl Tally {
    /// Counts events that completed now after this latency; ignored during the warm-up.
    pub fn add(&mut self, window: &Period, events: u64, took: Duration) {
        let now = Instant::now();
        if now >= window.begin && now < window.end {
            self.events += events;
            self.nanos.push(took.as_nanos().try_into().unwrap_or(u64::MAX));
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.nanos.extend(other.nanos);
    }
}

/// The result of a workload.
#[derive(Clone, Copy)]
pub struct Figures {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Figures {
    pub fn new(mut tally: Tally, time: Duration) -> Self {
        tally.nanos.sort_unstable();
        let quantile = |share: f64| {
            let index = (tally.nanos.len().saturating_sub(1) as f64 * share).round() as usize;
            tally.nanos.get(index).map_or(f64::NAN, |nanos| *nanos as f64 / 1e6)
        };
        let per_second = tally.events as f64 / time.as_secs_f64();
        Self { per_second, p50_ms: quantile(0.5), p99_ms: quantile(0.99) }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.0}/s  p50 {:.3} ms  p99 {:.3} ms", self.per_second, self.p50_ms, self.p99_ms)
    }
}

/// A payload with the current time.
pub fn payload() -> Bytes {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let filler = PAYLOAD_BYTES - HEAD.len() - DIGITS - r#","fill":""}"#.len();
    format!(r#"{{"at":{now},"fill":"{}"}}"#, "x".repeat(filler)).into()
}

/// Age of the first payload in these bytes.
pub fn age(bytes: &[u8]) -> Option<Duration> {
    let bytes = &bytes[..bytes.len().min(BEGINS_WITHIN)];
    let begin = bytes.windows(HEAD.len()).position(|window| window == HEAD)? + HEAD.len();
    let nanos = std::str::from_utf8(bytes.get(begin..begin + DIGITS)?).ok()?.parse().ok()?;
    SystemTime::now().duration_since(UNIX_EPOCH + Duration::from_nanos(nanos)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_the_fixed_size_and_contains_its_age() {
        let payload = payload();
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        assert!(age(&payload).is_some_and(|age| age < Duration::from_secs(60)));
        assert!(age(b"{}").is_none());
    }
}
