//! Read workloads: replay and live delivery.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::args::{BenchArgs, unexpected};
use super::bar::Bar;
use super::load::{Source, collect};
use super::meter::{Figures, Tally, Window};
use super::target::Target;
use crate::cli::client::Connection;
use crate::cli::outcome::Failure;
use crate::codec::record;
use crate::pb;
use crate::pb::event_service_client::EventServiceClient;
use crate::pb::subscribe_response::Frame;

/// Events in a publish of `fan_out` at full speed.
const FAN_OUT_BATCH: usize = 50;

/// Events in a publish that fills the run to be replayed.
const FILL_BATCH: usize = 1_000;

/// Fills one run, then reads the whole run repeatedly.
pub async fn replay(args: &BenchArgs, target: &Target) -> Result<Figures, Failure> {
    let (mut client, run_id) = (target.events(0), format!("replay-{}", std::process::id()));
    let source = Source::new(args, 0);
    let bar = Bar::counted("replay: filling the run", args.replay_events);
    let mut left = args.replay_events;
    while left > 0 {
        let count = left.min(FILL_BATCH as u64);
        let events = (0..count).map(|_| source.event()).collect();
        let request = pb::PublishRequest { run_id: run_id.clone(), events, expected_last_seq: None };
        client.publish(request).await.map_err(|status| Failure::of_status(&status))?;
        left -= count;
        bar.add(count);
    }
    drop(bar);
    let _bar = Bar::timed("replay", args.time);
    let (began, mut tally) = (Instant::now(), Tally::default());
    let mut rounds = 0u32;
    while rounds == 0 || began.elapsed() < args.time {
        let one = Instant::now();
        tally.events += read_all(&mut client, &run_id, args.replay_events).await?;
        tally.took(one.elapsed());
        rounds += 1;
    }
    Ok(Figures::new(tally, began.elapsed()))
}

async fn read_all(client: &mut EventServiceClient<Connection>, run_id: &str, expected: u64) -> Result<u64, Failure> {
    let mut request = subscribe(run_id);
    request.max_batch = 1_000;
    let frames = client.subscribe(request).await.map_err(|status| Failure::of_status(&status))?;
    let (mut frames, mut events) = (frames.into_inner(), 0);
    while let Some(frame) = frames.message().await.map_err(|status| Failure::of_status(&status))? {
        match frame.frame {
            Some(Frame::Events(batch)) => events += entries(&batch)?.0,
            Some(Frame::CaughtUp(_)) if events == expected => return Ok(events),
            _ => return Err(unexpected("the replay ended before its last event")),
        }
    }
    Err(unexpected("the replay was cut"))
}

/// One run with many subscribers, at a fixed event rate or at full speed: delivery rate, and latency from publish to
/// delivery.
pub async fn fan_out(
    args: &BenchArgs,
    target: &Target,
    subscribers: usize,
    events_per_second: Option<u32>,
) -> Result<Figures, Failure> {
    let mut publisher = Publisher::new(args, target, format!("fanout-{subscribers}"));
    publisher.publish(1).await?;
    let mut tasks = JoinSet::new();
    let window = Window::start(args.time);
    for worker in 0..subscribers {
        let mut request = subscribe(publisher.run_id());
        request.start = Some(pb::subscribe_request::Start::Latest(pb::Latest {}));
        let frames = target.subscriber(worker).subscribe(request).await;
        let frames = frames.map_err(|status| Failure::of_status(&status))?.into_inner();
        tasks.spawn(follow(frames, window));
    }
    match events_per_second {
        None => publisher.full_speed(window).await?,
        Some(rate) => {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while window.is_open() {
                ticks.tick().await;
                publisher.publish(1).await?;
            }
        }
    }
    publisher.end().await?;
    collect(tasks, window).await
}

/// Publisher to one run; `occurred_at` of each event is the send time.
pub struct Publisher {
    client: EventServiceClient<Connection>,
    source: Source,
    run_id: String,
}

impl Publisher {
    /// For a new run; `name` and the process id form the run id.
    pub fn new(args: &BenchArgs, target: &Target, name: String) -> Self {
        let run_id = format!("{name}-{}", std::process::id());
        Self { client: target.events(0), source: Source::new(args, 0), run_id }
    }

    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// Publishes at full speed until the end of the window.
    pub async fn full_speed(&mut self, window: Window) -> Result<(), Failure> {
        while window.is_open() {
            self.publish(FAN_OUT_BATCH).await?;
        }
        Ok(())
    }

    /// Publishes `count` events in one call.
    pub async fn publish(&mut self, count: usize) -> Result<(), Failure> {
        let now = Timestamp::now();
        let (seconds, nanos) = (now.as_second(), now.subsec_nanosecond());
        let stamped =
            || pb::NewEvent { occurred_at: Some(prost_types::Timestamp { seconds, nanos }), ..self.source.event() };
        let events = (0..count).map(|_| stamped()).collect();
        self.send(events).await
    }

    /// Ends the run, which ends the subscriptions.
    pub async fn end(&mut self) -> Result<(), Failure> {
        let end = pb::NewEvent { r#type: "run_end".to_owned(), ..pb::NewEvent::default() };
        self.send(vec![end]).await
    }

    async fn send(&mut self, events: Vec<pb::NewEvent>) -> Result<(), Failure> {
        let request = pb::PublishRequest { run_id: self.run_id.clone(), events, expected_last_seq: None };
        self.client.publish(request).await.map(drop).map_err(|status| Failure::of_status(&status))
    }
}

async fn follow(mut frames: tonic::Streaming<pb::SubscribeResponse>, window: Window) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    while let Some(frame) = frames.message().await.map_err(|status| Failure::of_status(&status))? {
        let Some(Frame::Events(batch)) = frame.frame else { continue };
        let (count, first) = entries(&batch)?;
        // One latency for each frame: that of the first event, which waited longest.
        let published = first.occurred_at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
        let took = published.map(|at| Timestamp::now().duration_since(at)).and_then(|took| took.try_into().ok());
        if let Some(took) = took {
            tally.add(&window, count, took);
        }
    }
    Ok(tally)
}

/// Subscription to a whole run, payloads as JSON.
pub fn subscribe(run_id: &str) -> pb::SubscribeRequest {
    pb::SubscribeRequest {
        scope: Some(pb::subscribe_request::Scope::RunId(run_id.to_owned())),
        payload_format: pb::PayloadFormat::Json.into(),
        view: pb::EventView::Full.into(),
        ..pb::SubscribeRequest::default()
    }
}

/// Number of events in a batch, and the first event.
fn entries(batch: &pb::EventBatch) -> Result<(u64, pb::Event), Failure> {
    let damaged = || unexpected("a batch does not decode");
    let (mut count, mut first) = (0, None);
    for chunk in &batch.chunks {
        let mut rest = chunk.clone();
        while !rest.is_empty() {
            let event = record::split_entry(&mut rest).map_err(|_| damaged())?;
            count += 1;
            first.get_or_insert(event);
        }
    }
    let first = first.ok_or_else(damaged)?;
    Ok((count, pb::Event::decode(first).map_err(|_| damaged())?))
}
