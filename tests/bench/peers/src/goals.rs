//! The goals, as ratios between the figures of one benchmark run.

use crate::system::Name;
use crate::workload::Workload;

/// A goal for a figure of runlog, absolute or relative to a peer.
#[derive(Clone, Copy)]
pub enum Goal {
    /// A rate of at least this share of the peer's rate.
    Rate(f64, Name),
    /// A rate in events per second.
    RateOf(f64),
    /// A median latency of at most this share of the peer's.
    P50(f64, Name),
    /// A median latency in ms.
    P50Of(f64),
    /// A 99th percentile of at most this share of the peer's.
    P99(f64, Name),
    /// A 99th percentile in ms.
    P99Of(f64),
}

/// The goals of a workload.
pub fn goals(workload: Workload) -> &'static [Goal] {
    use Goal::{P50, P50Of, P99, P99Of, Rate, RateOf};
    match workload {
        Workload::Unary1 => &[P50(0.7, Name::UmaDb)],
        Workload::Unary64 => &[Rate(0.9, Name::Empty), Rate(1.0, Name::UmaDb)],
        Workload::Unary256 => &[Rate(0.9, Name::Empty), Rate(1.0, Name::UmaDb)],
        Workload::Batch16 | Workload::Batch100 => &[Rate(1.0, Name::UmaDb)],
        Workload::Stream => &[RateOf(200_000.0), Rate(1.0, Name::Redis), Rate(1.0, Name::Nats)],
        Workload::Replay => &[RateOf(1_000_000.0), Rate(1.0, Name::UmaDb)],
        Workload::Fanout => &[RateOf(1_000_000.0), P99(1.0, Name::Nats)],
        Workload::Delivery => &[P50Of(1.0), P99Of(5.0)],
    }
}
