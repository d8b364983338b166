//! `runlog bench`: drives a server over gRPC with the workloads that the README gives figures for.

mod load;
mod meter;
mod read;
mod target;

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;

use super::client::duration;
use super::exit::{Exit, Failure};
use super::text::grouped;
use meter::Figures;
use target::Target;

/// The options of `runlog bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchArgs {
    /// Workloads to run, in this order; all by default
    #[arg(value_enum, value_name = "WORKLOAD")]
    workloads: Vec<Workload>,
    /// A running server; without it a server of this program is started on a new file in --scratch and removed afterwards
    #[arg(long, env = "RUNLOG_SERVER", value_name = "URL", value_parser = super::client::server_url)]
    server: Option<tonic::transport::Uri>,
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
    /// Give every published event an event_id, as a client does that wants to retry
    #[arg(long)]
    event_ids: bool,
    /// One JSON object for each workload instead of the table
    #[arg(long)]
    json: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
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
    /// Subscribe to a finished run from its first event, payloads as JSON
    Replay,
    /// One run, 100 subscribers, as fast as it goes
    Fanout,
    /// One run, 10 subscribers, 1,000 events a second: from publish to delivery
    Delivery,
}

/// Runs the workloads.
pub async fn run(args: BenchArgs) -> Result<(), Failure> {
    let workloads = match args.workloads.as_slice() {
        [] => Workload::value_variants().to_vec(),
        chosen => chosen.to_vec(),
    };
    let target = Target::open(&args).await?;
    let mut table = Table::new(args.json);
    for workload in workloads {
        let bar = progress(workload, args.time);
        let before = target.usage();
        let measured = measure(workload, &args, &target).await;
        bar.finish_and_clear();
        let mut figures = measured?;
        figures.usage_since(before, target.usage());
        table.row(workload, &figures)?;
    }
    target.close().await;
    Ok(())
}

async fn measure(workload: Workload, args: &BenchArgs, target: &Target) -> Result<Figures, Failure> {
    match workload {
        Workload::Unary1 => load::calls(args, target, 1, 1).await,
        Workload::Unary64 => load::calls(args, target, 64, 1).await,
        Workload::Unary256 => load::calls(args, target, 256, 1).await,
        Workload::Batch16 => load::calls(args, target, 64, 16).await,
        Workload::Batch100 => load::calls(args, target, 64, 100).await,
        Workload::Stream => load::streams(args, target, 4).await,
        Workload::Replay => read::replay(args, target).await,
        Workload::Fanout => read::fan_out(args, target, 100, None).await,
        Workload::Delivery => read::fan_out(args, target, 10, Some(1_000)).await,
    }
}

fn progress(workload: Workload, time: Duration) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(format!("{} for {time:?}", name(workload)));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn name(workload: Workload) -> String {
    workload.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// The output: a row as soon as it is known.
struct Table {
    json: bool,
    rows: usize,
}

impl Table {
    fn new(json: bool) -> Self {
        Self { json, rows: 0 }
    }

    fn row(&mut self, workload: Workload, figures: &Figures) -> Result<(), Failure> {
        let mut out = anstream::stdout();
        let name = name(workload);
        if self.json {
            return writeln!(out, "{}", figures.to_json(&name)).map_err(Failure::output);
        }
        if self.rows == 0 {
            let head = format!(
                "{:<12} {:>12} {:>10} {:>10} {:>10} {:>10} {:>10}",
                "workload", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU s", "RSS MiB"
            );
            writeln!(out, "{head}").map_err(Failure::output)?;
        }
        self.rows += 1;
        let ms = |q: f64| figures.quantile_ms(q).map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let (p50, p99, p999) = (ms(0.5), ms(0.99), ms(0.999));
        let (cpu, rss) = (optional(figures.server_cpu_s), optional(figures.server_rss_mib));
        let rate = grouped(figures.per_second());
        writeln!(out, "{name:<12} {rate:>12} {p50:>10} {p99:>10} {p999:>10} {cpu:>10} {rss:>10}")
            .map_err(Failure::output)?;
        if std::io::stdout().is_terminal() {
            out.flush().map_err(Failure::output)?;
        }
        Ok(())
    }
}

/// The server answered something that the workload does not expect.
fn unexpected(problem: &str) -> Failure {
    Failure::new(Exit::Protocol, problem)
}
