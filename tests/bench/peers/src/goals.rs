//! The goals, as ratios of one run.

use crate::system::Name;
use crate::workload::Workload;

/// A quantity of runlog, and what it is held against.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Rate of at least this share of that system's.
    Rate(f64, Name),
    /// At least so many events a second.
    RateOf(f64),
    /// Median time of at most this share of that system's.
    P50(f64, Name),
    /// Median time of at most so many ms.
    P50Of(f64),
    /// 99th percentile of at most this share of that system's.
    P99(f64, Name),
    /// 99th percentile of at most so many ms.
    P99Of(f64),
}

/// What is wanted of a workload.
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
