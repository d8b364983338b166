//! Counting and timing.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 260;
/// What a payload begins with; the time follows, in nanoseconds.
const HEAD: &[u8] = br#"{"at":"#;
/// Digits of a time until the year 2286.
const DIGITS: usize = 19;
/// Within how many bytes of what arrived the first payload begins.
const BEGINS_WITHIN: usize = 1_024;

/// When a workload counts: after the warm-up, until the end.
#[derive(Clone, Copy)]
pub struct RecentEvents {
    begin: Instant,
    end: Instant,
}

impl RecentEvents {
    /// Starts the warm-up, a quarter of the time.
    pub fn start(time: Duration) -> Self {
        let begin = Instant::now() + time / 4;
        Self { begin, end: begin + time }
    }

    /// Whether the workload goes on.
    pub fn is_open(&self) -> bool {
        Instant::now() < self.end
    }

    /// When it ends.
    pub fn end(&self) -> tokio::time::Instant {
        self.end.into()
    }

    /// The time that counts.
    pub fn length(&self) -> Duration {
        self.end - self.begin
    }
}

/// What one worker saw.
#[derive(Default)]
pub struct Tally {
    pub events: u64,
    pub nanos: Vec<u64>,
}

impl Tally {
    /// Counts events that are done now and took this long.
    pub fn add(&mut self, window: &RecentEvents, events: u64, took: Duration) {
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

/// A payload that says when it was made.
pub fn payload() -> Bytes {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let filler = PAYLOAD_BYTES - HEAD.len() - DIGITS - r#","fill":""}"#.len();
    format!(r#"{{"at":{now},"fill":"{}"}}"#, "x".repeat(filler)).into()
}

/// How long ago the first payload in these bytes was made.
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
    fn a_payload_has_the_size_of_all_and_tells_its_age() {
        let payload = payload();
        assert_eq!(payload.len(), PAYLOAD_BYTES);
        assert!(age(&payload).is_some_and(|age| age < Duration::from_secs(60)));
        assert!(age(b"{}").is_none());
    }
}
