//! The workloads of `runlog bench`.

use clap::ValueEnum;

/// A workload, named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Publish, one event a call, 1 call in flight
    #[value(name = "unary-1")]
    Unary1,
    /// Publish, one event a call, 64 calls in flight
    #[value(name = "unary-64")]
    Unary64,
    /// Publish, one event a call, 256 calls in flight
    #[value(name = "unary-256")]
    Unary256,
    /// Publish, 16 events a call, 64 calls in flight
    #[value(name = "batch-16")]
    Batch16,
    /// Publish, 100 events a call, 64 calls in flight
    #[value(name = "batch-100")]
    Batch100,
    /// PublishStream, one event a message, 4 streams
    Stream,
    /// Agent SDK ingest over HTTP/1.1, one event a request, 64 connections that are kept alive
    #[value(alias = "door-b")]
    AgentSdk,
    /// Subscribe to a finished run from its first event, payloads as JSON
    Replay,
    /// One run, 100 subscribers, as fast as it goes
    Fanout,
    /// The same with 100 event streams of the JSON gateway
    Sse,
    /// One run, 10 subscribers, 1,000 events a second: from publish to delivery
    Delivery,
    /// Subscribers to whom nothing happens: memory of each, and the publish rate beside them
    Idle,
    /// Many stored events: publish rate and pages against those of the empty store, and opening the store again
    Growth,
}

impl Workload {
    /// Workloads of a command line without names: all but `growth`.
    pub fn by_default() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|workload| *workload != Self::Growth).collect()
    }

    /// Whether the workload calls the JSON gateway, which the benchmark does over HTTP/1.1 without TLS.
    pub fn is_rest(self) -> bool {
        matches!(self, Self::AgentSdk | Self::Sse)
    }

    /// Name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
