//! Publish workloads at full speed.

use std::time::Instant;

use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::args::{BenchArgs, unexpected};
use super::meter::{Figures, Tally, Window};
use super::target::Target;
use crate::cli::outcome::Failure;
use crate::pb;

/// Limit of unanswered messages of one publish stream.
const STREAM_WINDOW: usize = 1_000;

/// Concurrent workers, each with one Publish call of `batch` events in flight.
pub async fn calls(args: &BenchArgs, target: &Target, workers: usize, batch: usize) -> Result<Figures, Failure> {
    let window = Window::start(args.time);
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        let (mut client, mut source) = (target.events(worker), Source::new(args, worker));
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while window.is_open() {
                let request = source.request(batch);
                let began = Instant::now();
                client.publish(request).await.map_err(|status| Failure::of_status(&status))?;
                tally.add(&window, batch as u64, began.elapsed());
            }
            Ok(tally)
        });
    }
    collect(tasks, window).await
}

/// Concurrent publish streams, each with a limited number of messages in flight, one event a message.
pub async fn streams(args: &BenchArgs, target: &Target, streams: usize) -> Result<Figures, Failure> {
    let window = Window::start(args.time);
    let mut tasks = JoinSet::new();
    for worker in 0..streams {
        let (client, source) = (target.events(worker), Source::new(args, worker));
        tasks.spawn(stream(client, source, window));
    }
    collect(tasks, window).await
}

async fn stream(
    mut client: pb::event_service_client::EventServiceClient<crate::cli::client::Connection>,
    mut source: Source,
    window: Window,
) -> Result<Tally, Failure> {
    // Send times of the messages in flight; the capacity of the channel is the window.
    let (sent, mut times) = mpsc::channel(STREAM_WINDOW);
    let requests = unfold(sent, move |sent| {
        let next = window.is_open().then(|| pb::PublishStreamRequest { publish: Some(source.request(1)) });
        async move {
            let next = next?;
            sent.send(Instant::now()).await.ok()?;
            Some((next, sent))
        }
    });
    let answers = client.publish_stream(requests).await.map_err(|status| Failure::of_status(&status))?;
    let (mut answers, mut tally) = (answers.into_inner(), Tally::default());
    while let Some(answer) = answers.message().await.map_err(|status| Failure::of_status(&status))? {
        if !matches!(answer.result, Some(pb::publish_stream_response::Result::Published(_))) {
            return Err(unexpected("a message of the publish stream was refused"));
        }
        let began = times.recv().await.ok_or_else(|| unexpected("more answers than messages"))?;
        tally.add(&window, 1, began.elapsed());
    }
    Ok(tally)
}

/// Waits for all workers and merges the counters.
pub async fn collect(mut tasks: JoinSet<Result<Tally, Failure>>, window: Window) -> Result<Figures, Failure> {
    let mut all = Tally::default();
    while let Some(done) = tasks.join_next().await {
        all.merge(done.map_err(|error| unexpected(&error.to_string()))??);
    }
    Ok(Figures::new(all, window.length()))
}

/// Generator of publish requests: round-robin over the runs, with events like a step of an agent.
pub struct Source {
    prefix: String,
    runs: u64,
    next: u64,
    json: String,
    event_ids: bool,
}

impl Source {
    /// For one worker; all workers share the runs.
    pub fn new(args: &BenchArgs, worker: usize) -> Self {
        let head = r#"{"node_name":"search_web","phase":"end","duration_ms":890,"output":{"results":[""#;
        let tail = r#""]}}"#;
        let filler = (args.payload_bytes as usize).saturating_sub(head.len() + tail.len());
        let json = format!("{head}{}{tail}", "x".repeat(filler));
        // Workers start at different runs, to avoid contention on one run.
        let next = worker as u64 * 7_919;
        let prefix = format!("bench-{}", std::process::id());
        Self { prefix, runs: u64::from(args.runs), next, json, event_ids: args.event_ids }
    }

    /// Id of the next run.
    pub fn next_run(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.prefix, self.next % self.runs)
    }

    /// A request with `events` events for the next run.
    pub fn request(&mut self, events: usize) -> pb::PublishRequest {
        let run_id = self.next_run();
        let events = (0..events).map(|_| self.event()).collect();
        pb::PublishRequest { run_id, events, expected_last_seq: None }
    }

    /// JSON body of the agent SDK ingest API: one event for the next run.
    pub fn ingest_body(&mut self) -> String {
        let (run_id, json) = (self.next_run(), &self.json);
        let event_id = if self.event_ids { format!(r#""event_id":"{}","#, Uuid::now_v7()) } else { String::new() };
        format!(r#"{{"event_type":"step",{event_id}"sdk_run_id":"{run_id}","payload":{json}}}"#)
    }

    /// Event of type `step` with the configured payload size.
    pub fn event(&self) -> pb::NewEvent {
        let variant = Some(pb::payload::Variant::Json(self.json.clone()));
        pb::NewEvent {
            event_id: if self.event_ids { Uuid::now_v7().to_string() } else { String::new() },
            r#type: "step".to_owned(),
            payload: Some(pb::Payload { extra_json: String::new(), variant }),
            ..pb::NewEvent::default()
        }
    }
}
