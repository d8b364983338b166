//! The workloads of `runlog bench`.

use clap::ValueEnum;

use super::bar::Bar;
use super::meter::Figures;
use super::target::Target;
use super::{BenchArgs, TIMED_STAGES, growth, idle, load, read, rest};
use crate::cli::outcome::Failure;

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
    #[value(name = "door-b")]
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

    /// Name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Runs the workload and returns the figures.
    pub async fn measure(self, args: &BenchArgs, target: &mut Target) -> Result<Figures, Failure> {
        // Workloads with several stages show one progress bar for each stage.
        match self {
            Self::Replay => return read::replay(args, target).await,
            Self::Idle => return idle::idle(args, target).await,
            Self::Growth => return growth::growth(args, target).await,
            _ => {}
        }
        let _bar = Bar::timed(&self.name(), args.time.mul_f64(TIMED_STAGES));
        match self {
            Self::Unary1 => load::calls(args, target, 1, 1).await,
            Self::Unary64 => load::calls(args, target, 64, 1).await,
            Self::Unary256 => load::calls(args, target, 256, 1).await,
            Self::Batch16 => load::calls(args, target, 64, 16).await,
            Self::Batch100 => load::calls(args, target, 64, 100).await,
            Self::Stream => load::streams(args, target, 4).await,
            Self::AgentSdk => rest::ingest(args, target, 64).await,
            Self::Fanout => read::fan_out(args, target, 100, None).await,
            Self::Sse => rest::sse(args, target, 100).await,
            Self::Delivery => read::fan_out(args, target, 10, Some(1_000)).await,
            Self::Replay | Self::Idle | Self::Growth => unreachable!("measured above"),
        }
    }
}
