//! Kinds of metrics.

use std::time::Duration;

use metrics::{IntoLabels, Unit};

/// Name, unit and help text of a metric.
#[derive(Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub help: &'static str,
}

/// A counter.
pub struct Counter(pub Metric);

impl Counter {
    /// Gives unit and help text to the recorder.
    pub fn describe(&self) {
        let Metric { name, unit, help } = self.0;
        metrics::with_recorder(|recorder| recorder.describe_counter(name.into(), unit, help.into()));
    }

    /// Adds to the counter.
    pub fn add(&self, count: u64) {
        metrics::counter!(self.0.name).increment(count);
    }

    /// Adds 1 to the series with these labels.
    pub fn add_one<L: IntoLabels>(&self, labels: L) {
        self.series(labels).increment(1);
    }

    /// The series with these labels, for callers that keep it.
    pub fn series<L: IntoLabels>(&self, labels: L) -> metrics::Counter {
        metrics::counter!(self.0.name, labels)
    }
}

/// A value that rises and falls.
pub struct Gauge(pub Metric);

impl Gauge {
    /// Gives unit and help text to the recorder.
    pub fn describe(&self) {
        let Metric { name, unit, help } = self.0;
        metrics::with_recorder(|recorder| recorder.describe_gauge(name.into(), unit, help.into()));
    }

    /// The series without labels.
    pub fn handle(&self) -> metrics::Gauge {
        metrics::gauge!(self.0.name)
    }

    /// Sets the value to a whole number.
    pub fn set(&self, value: u64) {
        self.handle().set(as_float(value));
    }

    /// Sets the value of the series with these labels to a whole number.
    pub fn set_of<L: IntoLabels>(&self, labels: L, value: u64) {
        metrics::gauge!(self.0.name, labels).set(as_float(value));
    }
}

/// A distribution.
pub struct Histogram(pub Metric);

impl Histogram {
    /// Gives unit and help text to the recorder.
    pub fn describe(&self) {
        let Metric { name, unit, help } = self.0;
        metrics::with_recorder(|recorder| recorder.describe_histogram(name.into(), unit, help.into()));
    }

    /// Records a duration, in seconds.
    pub fn record(&self, took: Duration) {
        metrics::histogram!(self.0.name).record(took.as_secs_f64());
    }

    /// Records a duration in the series with these labels, in seconds.
    pub fn record_of<L: IntoLabels>(&self, labels: L, took: Duration) {
        metrics::histogram!(self.0.name, labels).record(took.as_secs_f64());
    }

    /// Records a count.
    pub fn record_count(&self, count: u32) {
        metrics::histogram!(self.0.name).record(f64::from(count));
    }
}

#[allow(clippy::cast_precision_loss, reason = "the values of gauges are floats")]
fn as_float(value: u64) -> f64 {
    value as f64
}
