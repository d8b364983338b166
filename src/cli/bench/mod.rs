//! `runlog bench`: load generator with the workloads of `tests/bench/README.md`.

mod args;
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

use super::outcome::{Exit, Failure};
pub use args::BenchArgs;
use args::TIMED_STAGES;
use bar::Bar;
use meter::Figures;
use table::Table;
use target::Target;
use tonic::transport::Uri;
use workload::Workload;

/// Runs the workloads and prints one row for each.
pub async fn run(args: BenchArgs) -> Result<(), Failure> {
    let workloads = match args.workloads.as_slice() {
        [] => Workload::by_default(),
        chosen => chosen.to_vec(),
    };
    let is_tls = |server: &Uri| server.scheme_str() == Some("https");
    if let Some(workload) = workloads.iter().find(|workload| workload.is_rest())
        && args.server.iter().any(is_tls)
    {
        let message = format!("{} measures HTTP/1.1 without TLS, and --server is https://", workload.name());
        return Err(Failure::new(Exit::Usage, message).hint("name the other workloads, which speak gRPC"));
    }
    let mut target = Target::open(&args).await?;
    let measured = measure_all(&workloads, &args, &mut target).await;
    target.close().await;
    measured
}

async fn measure_all(workloads: &[Workload], args: &BenchArgs, target: &mut Target) -> Result<(), Failure> {
    let mut table = Table::new(args.output.format());
    let mut unary_64 = None;
    for workload in workloads {
        let before = target.usage();
        let mut figures = measure(*workload, args, target).await?;
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
    table.end()
}

/// Runs the workload and returns the figures.
async fn measure(workload: Workload, args: &BenchArgs, target: &mut Target) -> Result<Figures, Failure> {
    // Workloads with several stages show one progress bar for each stage.
    match workload {
        Workload::Replay => return read::replay(args, target).await,
        Workload::Idle => return idle::idle(args, target).await,
        Workload::Growth => return growth::growth(args, target).await,
        _ => {}
    }
    let _bar = Bar::timed(&workload.name(), args.time.mul_f64(TIMED_STAGES));
    match workload {
        Workload::Unary1 => load::calls(args, target, 1, 1).await,
        Workload::Unary64 => load::calls(args, target, 64, 1).await,
        Workload::Unary256 => load::calls(args, target, 256, 1).await,
        Workload::Batch16 => load::calls(args, target, 64, 16).await,
        Workload::Batch100 => load::calls(args, target, 64, 100).await,
        Workload::Stream => load::streams(args, target, 4).await,
        Workload::AgentSdk => rest::ingest(args, target, 64).await,
        Workload::Fanout => read::fan_out(args, target, 100, None).await,
        Workload::Sse => rest::sse(args, target, 100).await,
        Workload::Delivery => read::fan_out(args, target, 10, Some(1_000)).await,
        Workload::Replay | Workload::Idle | Workload::Growth => unreachable!("measured above"),
    }
}
