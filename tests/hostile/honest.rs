//! An honest publisher and an honest subscriber, not affected by the attacks beside them.

use std::time::Duration;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::{self, subscribe_response::Frame};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::client::large_publish;
use crate::harness::{Server, within};

/// The server's memory limit, and the memory of the program beside the limit.
const MEMORY_BYTES: u64 = 256 << 20;
const PROGRAM_BYTES: u64 = 64 << 20;

/// Options of a server with little memory.
pub const SMALL: [&str; 6] =
    ["--max-memory-bytes", "268435456", "--publish-queue-bytes", "33554432", "--read-ahead-bytes", "33554432"];

/// Payload size of the honest publisher.
const PAYLOAD_BYTES: usize = 200;

/// Time from one publish to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// The honest clients. Any failed call ends the test.
struct Honest {
    /// Latencies from the publish to the subscriber.
    delivered: mpsc::UnboundedReceiver<Duration>,
    tasks: Vec<JoinHandle<()>>,
}

impl Honest {
    /// Each client has its own connection.
    async fn begin(server: &Server, run_id: &str) -> Self {
        let (times, delivered) = mpsc::unbounded_channel();
        let (published, expected) = mpsc::unbounded_channel();
        let mut publisher = server.events().await;
        publish(&mut publisher, run_id).await;
        let subscriber = server.events().await;
        let run_id = run_id.to_owned();
        let followed = tokio::spawn(follow(subscriber, run_id.clone(), expected, times));
        let publishing = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                let seq = publish(&mut publisher, &run_id).await;
                if published.send((seq, began)).is_err() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { delivered, tasks: vec![followed, publishing] }
    }

    /// The median and the 99th percentile of the latency from the publish to the subscriber, over this number of events.
    async fn percentiles(&mut self, events: usize) -> (Duration, Duration) {
        while self.delivered.try_recv().is_ok() {}
        let mut times = Vec::new();
        while times.len() < events {
            let time = within("an event of the honest publisher", self.delivered.recv()).await;
            times.push(time.expect("no call of honest clients fails"));
        }
        times.sort_unstable();
        (times[times.len() / 2], times[times.len() * 99 / 100])
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn publish(client: &mut EventServiceClient<Channel>, run_id: &str) -> u64 {
    let request = large_publish(run_id, 1, PAYLOAD_BYTES);
    let answer = within("an answer to the honest publisher", client.publish(request)).await;
    answer.expect("no publish of an honest client fails").into_inner().events[0].seq
}

async fn follow(
    mut client: EventServiceClient<Channel>,
    run_id: String,
    mut expected: mpsc::UnboundedReceiver<(u64, Instant)>,
    times: mpsc::UnboundedSender<Duration>,
) {
    use pb::subscribe_request::Scope;
    let request = pb::SubscribeRequest { scope: Some(Scope::RunId(run_id)), ..Default::default() };
    let mut frames = client.subscribe(request).await.expect("an honest subscription begins").into_inner();
    let mut last = 0;
    while let Some((seq, began)) = expected.recv().await {
        while last < seq {
            let frame = within("a frame of the honest subscriber", frames.message()).await;
            let frame = frame.expect("no honest subscription breaks off").expect("it goes on");
            if let Some(Frame::Events(batch)) = frame.frame {
                last += batch.events().unwrap().len() as u64;
            }
        }
        if times.send(began.elapsed()).is_err() {
            return;
        }
    }
}

/// The limits for an attack from `begin` to `end`: no call of the honest clients fails, and the server stays under its
/// memory limit. Latencies are printed and not judged, since a busy machine would fail a judgement.
pub async fn beside<T>(server: &Server, attack: &str, begin: impl AsyncFnOnce() -> T, end: impl AsyncFnOnce(T)) {
    let mut honest = Honest::begin(server, "honest").await;
    let alone = honest.percentiles(200).await;
    let begun = begin().await;
    let beside = honest.percentiles(400).await;
    end(begun).await;
    let peak = server.peak_memory_bytes();
    println!("{attack}: peak {} MiB, p50 and p99 {beside:?}, alone {alone:?}", peak >> 20);
    assert!(peak <= MEMORY_BYTES + PROGRAM_BYTES, "{attack}: {} MiB", peak >> 20);
}
