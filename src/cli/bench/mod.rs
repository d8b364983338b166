//! `runlog bench`: load generator with the workloads of `tests/bench/README.md`.

mod bar;
mod growth;
mod idle;
mod load;
mod meter;
mod read;
mod rest;
mod table;
mod target;
mod workload;

use std::time::Duration;

use clap::Args;

use super::client::duration;
use super::outcome::{Exit, Failure};
use table::Table;
use target::Target;
use workload::Workload;

/// Duration of a timed stage as a multiple of `--time`: a quarter is warm-up.
const TIMED_STAGES: f64 = 1.25;

/// The options of `runlog bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Workloads to run, in this order; all but `growth` by default, which takes minutes and many GiB
    #[arg(value_enum, value_name = "WORKLOAD")]
    workloads: Vec<Workload>,
    /// A running server; without it a server of this program is started on a new file in --scratch and removed afterwards.
    /// Given more than once, the connections are spread over them
    #[arg(long, env = "RUNLOG_SERVER", value_name = "URL", value_delimiter = ',', value_parser = super::client::server_url)]
    server: Vec<tonic::transport::Uri>,
    /// Where `fanout` and `delivery` subscribe: another replica of the same store; --server by default
    #[arg(long, value_name = "URL", requires = "server", value_parser = super::client::server_url)]
    subscribe_server: Option<tonic::transport::Uri>,
    /// Process of the server, for its CPU time and memory; known when the server is started here
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// Where the scratch file lies when a server is started here: the disk that is measured
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    scratch: std::path::PathBuf,
    /// How long each workload is measured, after a quarter of that as warm-up
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    time: Duration,
    /// Runs that events are spread over
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Bytes of each payload, about
    #[arg(long, default_value_t = 260, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    payload_bytes: u32,
    /// Connections that the calls are spread over
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    connections: u32,
    /// Events in the run that `replay` reads
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    replay_events: u64,
    /// Subscribers of `idle`, each to a run of its own
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    /// Subscribers of `idle` that share a connection
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers_per_connection: u32,
    /// Events that `growth` puts into the store
    #[arg(long, default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000_000))]
    events: u64,
    /// Give every published event an event_id, as a client does that wants to retry
    #[arg(long)]
    event_ids: bool,
    /// One JSON object for each workload instead of the table
    #[arg(long)]
    json: bool,
}

/// Runs the workloads and prints one row for each.
pub async fn run(args: BenchArgs) -> Result<(), Failure> {
    let workloads = match args.workloads.as_slice() {
        [] => Workload::by_default(),
        chosen => chosen.to_vec(),
    };
    let mut target = Target::open(&args).await?;
    let measured = measure_all(&workloads, &args, &mut target).await;
    target.close().await;
    measured
}

async fn measure_all(workloads: &[Workload], args: &BenchArgs, target: &mut Target) -> Result<(), Failure> {
    let mut table = Table::new(args.json);
    let mut unary_64 = None;
    for workload in workloads {
        let before = target.usage();
        let mut figures = workload.measure(args, target).await?;
        if figures.server_rss_mib.is_none() {
            figures.usage_since(before, target.usage());
        }
        match workload {
            Workload::Unary64 => unary_64 = Some(figures.per_second()),
            Workload::AgentSdk => {
                if let Some(unary_64) = unary_64 {
                    figures.add("rate_of_unary_64", figures.per_second() as f64 / unary_64.max(1) as f64);
                }
            }
            _ => {}
        }
        table.row(&workload.name(), &figures)?;
    }
    Ok(())
}

/// Error of an answer that the workload does not expect.
fn unexpected(problem: &str) -> Failure {
    Failure::new(Exit::Protocol, problem)
}
