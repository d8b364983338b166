//! Measurement: time window, counters, latency quantiles.

use std::time::{Duration, Instant};

use serde_json::json;

/// Measurement window of a workload, after the warm-up.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    begin: Instant,
    end: Instant,
}

impl Window {
    /// Starts the warm-up, a quarter of the time.
    pub fn start(time: Duration) -> Self {
        let begin = Instant::now() + time / 4;
        Self { begin, end: begin + time }
    }

    /// `false` after the end of the window.
    pub fn is_open(&self) -> bool {
        Instant::now() < self.end
    }

    /// Whether `now` lies in the window, after the warm-up.
    pub fn counts(&self, now: Instant) -> bool {
        now >= self.begin && now < self.end
    }

    /// Duration without the warm-up.
    pub fn length(&self) -> Duration {
        self.end - self.begin
    }
}

/// Counters of one worker.
#[derive(Debug, Default)]
pub struct Tally {
    /// Published or delivered events within the window.
    pub events: u64,
    /// Latencies of the measured operations, nanoseconds.
    pub nanos: Vec<u64>,
}

impl Tally {
    /// Counts events that are complete now, with one latency.
    pub fn add(&mut self, window: &Window, events: u64, took: Duration) {
        if window.counts(Instant::now()) {
            self.events += events;
            self.took(took);
        }
    }

    /// Adds a latency.
    pub fn took(&mut self, took: Duration) {
        self.nanos.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts events that are complete now, without a latency.
    pub fn count(&mut self, window: &Window, events: u64) {
        if window.counts(Instant::now()) {
            self.events += events;
        }
    }

    /// Adds the counters of another worker.
    pub fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.nanos.extend(other.nanos);
    }
}

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Seconds of user and system time.
    pub cpu_s: f64,
    /// MiB of resident memory.
    pub rss_mib: f64,
}

/// The result of a workload.
#[derive(Debug)]
pub struct Figures {
    events: u64,
    time: Duration,
    nanos: Vec<u64>,
    /// CPU seconds of the server over the whole workload, warm-up included.
    pub server_cpu_s: Option<f64>,
    /// MiB of resident memory of the server at the end.
    pub server_rss_mib: Option<f64>,
    /// Further figures of the workload, by name.
    pub more: Vec<(&'static str, f64)>,
}

impl Figures {
    /// From the merged counters of all workers.
    pub fn new(mut tally: Tally, time: Duration) -> Self {
        tally.nanos.sort_unstable();
        let Tally { events, nanos } = tally;
        Self { events, time, nanos, server_cpu_s: None, server_rss_mib: None, more: Vec::new() }
    }

    /// Sets CPU time and memory from two samples of the server's process.
    pub fn usage_since(&mut self, before: Option<Usage>, after: Option<Usage>) {
        self.server_cpu_s = before.zip(after).map(|(before, after)| after.cpu_s - before.cpu_s);
        self.server_rss_mib = after.map(|usage| usage.rss_mib);
    }

    /// Adds a further figure of the workload.
    pub fn add(&mut self, what: &'static str, value: f64) {
        self.more.push((what, value));
    }

    /// Event rate over the window, rounded.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive and below 2^53")]
    pub fn per_second(&self) -> u64 {
        (self.events as f64 / self.time.as_secs_f64()).round() as u64
    }

    /// Latency quantile in milliseconds for a `share` from 0 to 1; `None` without latencies.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below the length")]
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let last = self.nanos.len().checked_sub(1)?;
        let index = (last as f64 * share).round() as usize;
        self.nanos.get(index).map(|nanos| *nanos as f64 / 1e6)
    }

    /// The figures as one JSON object.
    pub fn to_json(&self, workload: &str) -> String {
        let mut line = json!({
            "workload": workload,
            "events_per_second": self.per_second(),
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
            "p99_9_ms": self.quantile_ms(0.999),
            "server_cpu_s": self.server_cpu_s,
            "server_rss_mib": self.server_rss_mib,
        });
        for (what, value) in &self.more {
            line[*what] = json!(value);
        }
        line.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let tally = Tally { events: 10, nanos: (1..=100).rev().map(|ms| ms * 1_000_000).collect() };
        let figures = Figures::new(tally, Duration::from_secs(2));
        assert_eq!(figures.per_second(), 5);
        assert_eq!(figures.quantile_ms(0.0), Some(1.0));
        assert_eq!(figures.quantile_ms(1.0), Some(100.0));
        assert_eq!(Figures::new(Tally::default(), Duration::from_secs(1)).quantile_ms(0.5), None);
    }
}
