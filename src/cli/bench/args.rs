//! Options of `runlog bench`, shared by all workloads.

use std::time::Duration;

use clap::Args;

use super::workload::Workload;
use crate::cli::client::{KeyArgs, TlsArgs, duration};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::OutputArgs;

/// Duration of a timed stage as a multiple of `--time`: a quarter is warm-up.
pub const TIMED_STAGES: f64 = 1.25;

/// The options of `runlog bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Workloads to run, in this order; all but `growth` by default, which takes minutes and many GiB
    #[arg(value_enum, value_name = "WORKLOAD")]
    pub workloads: Vec<Workload>,
    /// A running server; without it a server of this program is started on a new file in --scratch and removed afterwards.
    /// Given more than once, the connections are spread over them
    #[arg(long, env = "RUNLOG_SERVER", value_name = "URL", value_delimiter = ',', value_parser = crate::cli::client::server_url)]
    pub server: Vec<tonic::transport::Uri>,
    /// Where `fanout` and `delivery` subscribe: another replica of the same store; --server by default
    #[arg(long, value_name = "URL", requires = "server", value_parser = crate::cli::client::server_url)]
    pub subscribe_server: Option<tonic::transport::Uri>,
    /// Process of the server, for its CPU time and memory; known when the server is started here
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Where the scratch file lies when a server is started here: the disk that is measured
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    pub scratch: std::path::PathBuf,
    /// How long each workload is measured, after a quarter of that as warm-up
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub time: Duration,
    /// Runs that events are spread over
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub runs: u32,
    /// Bytes of each payload, about
    #[arg(long, default_value_t = 260, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    pub payload_bytes: u32,
    /// Connections that the calls are spread over
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// Events in the run that `replay` reads
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub replay_events: u64,
    /// Subscribers of `idle`, each to a run of its own
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub subscribers: u32,
    /// Subscribers of `idle` that share a connection
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub subscribers_per_connection: u32,
    /// Events that `growth` puts into the store
    #[arg(long, default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000_000))]
    pub events: u64,
    /// Give every published event an event_id, as a client does that wants to retry
    #[arg(long)]
    pub event_ids: bool,
    #[command(flatten)]
    pub output: OutputArgs,
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub key: KeyArgs,
}

/// Error of an answer that the workload does not expect.
pub fn unexpected(problem: &str) -> Failure {
    Failure::new(Exit::Protocol, problem)
}
