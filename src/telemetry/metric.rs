//! Kinds of metrics.

use std::time::Duration;

use metrics::{IntoLabels, Label, Unit};

/// Kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A count that only rises.
    Counter,
    /// A value that rises and falls.
    Gauge,
    /// A distribution over buckets, with sum and count.
    Histogram,
}

/// Definition of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Name of the family in `/metrics`.
    pub name: &'static str,
    /// Kind, as the line `# TYPE` has it.
    pub kind: Kind,
    /// Names of the labels of every series.
    pub labels: &'static [&'static str],
    /// Unit of the values.
    pub unit: Option<Unit>,
    /// Help text.
    pub help: &'static str,
}

impl Metric {
    /// Gives unit and help text to the recorder. A counter without labels begins at 0: a rule on its increase would miss the
    /// first event of a series that appears with 1.
    pub(super) fn define(&self) {
        let Self { name, kind, unit, help, .. } = *self;
        metrics::with_recorder(|recorder| match kind {
            Kind::Counter => recorder.describe_counter(name.into(), unit, help.into()),
            Kind::Gauge => recorder.describe_gauge(name.into(), unit, help.into()),
            Kind::Histogram => recorder.describe_histogram(name.into(), unit, help.into()),
        });
        if kind == Kind::Counter && self.labels.is_empty() {
            metrics::counter!(name).increment(0);
        }
    }

    /// The labels, which are those of the definition: rules and dashboards are checked against it.
    fn labelled(&self, labels: impl IntoLabels) -> Vec<Label> {
        let labels = labels.into_labels();
        debug_assert!(labels.iter().map(Label::key).eq(self.labels.iter().copied()), "{}: {labels:?}", self.name);
        labels
    }
}

/// A counter.
pub struct Counter(pub Metric);

impl Counter {
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
        metrics::counter!(self.0.name, self.0.labelled(labels))
    }
}

/// A value that rises and falls.
pub struct Gauge(pub Metric);

impl Gauge {
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
        metrics::gauge!(self.0.name, self.0.labelled(labels)).set(as_float(value));
    }
}

/// A distribution.
pub struct Histogram(pub Metric);

impl Histogram {
    /// Records a duration, in seconds.
    pub fn record(&self, took: Duration) {
        metrics::histogram!(self.0.name).record(took.as_secs_f64());
    }

    /// Records a duration in the series with these labels, in seconds.
    pub fn record_of<L: IntoLabels>(&self, labels: L, took: Duration) {
        metrics::histogram!(self.0.name, self.0.labelled(labels)).record(took.as_secs_f64());
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
