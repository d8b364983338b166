//! The workloads of `runlog bench`, against any system.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout_at};

use crate::meter::{Figures, Period, Tally, age, payload};
use crate::system::{RUNS, System};

/// The run of the replay workload.
const REPLAYED: &str = "replayed";
/// Events of a publish that fills the run.
const FILL_BATCH: usize = 1_000;
/// Events of a publish of `fanout`.
const FAN_OUT_BATCH: usize = 50;

/// The workloads; `run.sh` documents each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    #[value(name = "unary-1")]
    Unary1,
    #[value(name = "unary-64")]
    Unary64,
    #[value(name = "unary-256")]
    Unary256,
    #[value(name = "batch-16")]
    Batch16,
    #[value(name = "batch-100")]
    Batch100,
    Stream,
    Replay,
    Fanout,
    Delivery,
}

impl Workload {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unary1 => "unary-1",
            Self::Unary64 => "unary-64",
            Self::Unary256 => "unary-256",
            Self::Batch16 => "batch-16",
            Self::Batch100 => "batch-100",
            Self::Stream => "stream",
            Self::Replay => "replay",
            Self::Fanout => "fanout",
            Self::Delivery => "delivery",
        }
    }

    /// Measures the workload once; `None` for a system that does not support the workload.
    pub async fn measure(
        self,
        system: &Arc<dyn System>,
        time: Duration,
        round: u32,
        replay_events: usize,
    ) -> Result<Option<Figures>> {
        match self {
            Self::Unary1 => calls(system, time, 1, 1).await.map(Some),
            Self::Unary64 => calls(system, time, 64, 1).await.map(Some),
            Self::Unary256 => calls(system, time, 256, 1).await.map(Some),
            Self::Batch16 => calls(system, time, 64, 16).await.map(Some),
            Self::Batch100 => calls(system, time, 64, 100).await.map(Some),
            Self::Stream => streams(system, time, 4).await,
            Self::Replay => replay(system, time, replay_events).await.map(Some),
            Self::Fanout => fan_out(system, time, &format!("fanout-{round}"), 100, None).await.map(Some),
            Self::Delivery => fan_out(system, time, &format!("delivery-{round}"), 10, Some(1_000)).await.map(Some),
        }
    }
}

/// The name of a run; the index wraps at the number of runs.
pub fn run_of(next: usize) -> String {
    format!("run-{}", next % RUNS)
}

async fn calls(system: &Arc<dyn System>, time: Duration, workers: usize, batch: usize) -> Result<Figures> {
    let window = Period::start(time);
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let system = Arc::clone(system);
        tasks.spawn(async move {
            let payloads = vec![payload(); batch];
            let (mut tally, mut next) = (Tally::default(), worker * 7_919);
            while window.is_open() {
                next += 1;
                let began = Instant::now();
                system.publish(worker, &run_of(next), &payloads).await?;
                tally.add(&window, batch as u64, began.elapsed());
            }
            Ok(tally)
        });
    }
    collect(tasks, window).await
}

async fn streams(system: &Arc<dyn System>, time: Duration, streams: usize) -> Result<Option<Figures>> {
    let window = Period::start(time);
    let mut tasks = JoinSet::new();
    for worker in 0..streams {
        tasks.spawn(Arc::clone(system).stream(worker, window));
    }
    let mut all = Tally::default();
    while let Some(done) = tasks.join_next().await {
        let Some(tally) = done?? else { return Ok(None) };
        all.merge(tally);
    }
    Ok(Some(Figures::new(all, window.length())))
}

/// Fills the run of the replay workload.
pub async fn fill(system: &Arc<dyn System>, events: usize) -> Result<()> {
    let payloads = vec![payload(); FILL_BATCH];
    let mut left = events;
    while left > 0 {
        let count = left.min(FILL_BATCH);
        system.publish(0, REPLAYED, &payloads[..count]).await?;
        left -= count;
    }
    Ok(())
}

async fn replay(system: &Arc<dyn System>, time: Duration, events: usize) -> Result<Figures> {
    // The first replay is the warm-up.
    let mut began = None;
    let mut tally = Tally::default();
    loop {
        let one = Instant::now();
        let count = system.replay(REPLAYED, events).await?;
        ensure!(count == events as u64, "{count} of {events} events were replayed");
        let Some(began) = began else {
            began = Some(Instant::now());
            continue;
        };
        tally.events += count;
        tally.nanos.push(one.elapsed().as_nanos().try_into().unwrap_or(u64::MAX));
        if Instant::elapsed(&began) >= time {
            return Ok(Figures::new(tally, began.elapsed()));
        }
    }
}

async fn fan_out(
    system: &Arc<dyn System>,
    time: Duration,
    run: &str,
    subscribers: usize,
    events_per_second: Option<u32>,
) -> Result<Figures> {
    system.publish(0, run, &[payload()]).await?;
    let mut streams = Vec::new();
    for worker in 0..subscribers {
        streams.push(system.follow(worker, run).await?);
    }
    let window = Period::start(time);
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while let Ok(Some(part)) = timeout_at(window.end(), stream.next()).await {
                let part = part?;
                // One latency for the events of a message: the first event waited longest.
                tally.add(&window, part.events, age(&part.first).unwrap_or_default());
            }
            Ok(tally)
        });
    }
    let stamped = |count: usize| -> Vec<Bytes> { vec![payload(); count] };
    match events_per_second {
        None => {
            while window.is_open() {
                system.publish(0, run, &stamped(FAN_OUT_BATCH)).await?;
            }
        }
        Some(rate) => {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while window.is_open() {
                ticks.tick().await;
                system.publish(0, run, &stamped(1)).await?;
            }
        }
    }
    collect(tasks, window).await
}

async fn collect(mut tasks: JoinSet<Result<Tally>>, window: Period) -> Result<Figures> {
    let mut all = Tally::default();
    while let Some(done) = tasks.join_next().await {
        all.merge(done??);
    }
    Ok(Figures::new(all, window.length()))
}
