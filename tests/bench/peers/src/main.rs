//! Measures runlog beside other systems: the same workloads against each system in turn, on one machine, in one
//! benchmark run.
//!
//! `run.sh` builds everything and documents the requests for each system. The load comes from this process: gRPC
//! systems share one client that does not decode the events, the others have the Rust clients of their projects.

mod empty;
mod goals;
mod grpc;
mod meter;
mod nats;
mod probe;
mod redis_streams;
mod report;
mod runlog;
mod servers;
mod system;
mod umadb;
mod workload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

use report::{Cell, Report};
use servers::Servers;
use system::{Name, System};
use workload::Workload;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// The program `runlog`
    #[arg(long, value_name = "FILE")]
    runlog: PathBuf,
    /// The server of UmaDB
    #[arg(long, value_name = "FILE")]
    umadb: Option<PathBuf>,
    /// NATS
    #[arg(long, value_name = "FILE")]
    nats: Option<PathBuf>,
    /// Redis
    #[arg(long, value_name = "FILE")]
    redis: Option<PathBuf>,
    /// Directory for the data, on the disk to measure
    #[arg(long, value_name = "DIRECTORY")]
    scratch: PathBuf,
    /// Rounds of each workload against each system
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each measurement, after a quarter of that as warm-up
    #[arg(long, default_value_t = 3.0)]
    time: f64,
    /// Events in the run that is replayed
    #[arg(long, default_value_t = 500_000)]
    replay_events: usize,
    /// Only these workloads
    #[arg(long, value_enum, value_name = "WORKLOAD", num_args = 1.., value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// File for the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
}

#[derive(clap::Parser)]
#[command(name = "empty", about = "Serves the empty service")]
struct EmptyArgs {
    /// Address to listen on
    address: std::net::SocketAddr,
}

#[tokio::main]
async fn main() -> Result<()> {
    if std::env::args().nth(1).is_some_and(|first| first == "empty") {
        return empty::serve(EmptyArgs::parse_from(std::env::args().skip(1)).address).await;
    }
    let args = Args::parse();
    if !(0.01..=600.0).contains(&args.time) {
        bail!("--time is between 0.01 and 600 seconds");
    }
    let chosen = |workload: &Workload| args.workloads.is_empty() || args.workloads.contains(workload);
    let workloads: Vec<_> = Workload::value_variants().iter().copied().filter(chosen).collect();
    let servers = Servers::start(&args).await?;
    let systems = servers.systems().await?;
    if workloads.contains(&Workload::Replay) {
        for (name, system) in &systems {
            eprintln!("{}: filling a run of {} events", name.as_str(), args.replay_events);
            workload::fill(system, args.replay_events).await?;
        }
    }
    let mut report = Report { versions: servers.versions().to_vec(), ..Report::default() };
    for round in 1..=args.rounds {
        report.fdatasync_ms.push(probe::fdatasync_ms(servers.directory())?);
        for workload in &workloads {
            // Systems take turns, so that a drift of the machine affects all of them equally.
            for (name, system) in &systems {
                let time = Duration::from_secs_f64(args.time);
                let figures = workload.measure(system, time, round, args.replay_events).await;
                let Some(figures) = figures.map_err(|e| e.context(format!("{workload:?}: {name:?}")))? else {
                    continue;
                };
                eprintln!("round {round} of {}: {:<10} {:<8} {figures}", args.rounds, workload.as_str(), name.as_str());
                report.cells.push(Cell { workload: *workload, system: *name, figures });
            }
        }
    }
    std::fs::write(&args.json, report.json())?;
    print!("{}", report.markdown());
    Ok(())
}

/// The systems under load by name.
type Systems = Vec<(Name, Arc<dyn System>)>;
