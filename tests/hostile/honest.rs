//! An honest publisher and an honest subscriber, who notice nothing of what the others do.

use std::time::Duration;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::{self, subscribe_response::Frame};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::client::large_publish;
use crate::harness::{Server, within};

/// What the server may take, and what the program itself takes beside it.
const MEMORY_BYTES: u64 = 256 << 20;
const PROGRAM_BYTES: u64 = 64 << 20;

/// Options of a server that has little memory.
pub const SMALL: [&str; 6] =
    ["--max-memory-bytes", "268435456", "--publish-queue-bytes", "33554432", "--read-ahead-bytes", "33554432"];

/// An event of the honest publisher.
const PAYLOAD_BYTES: usize = 200;

/// Time from one publish to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// See the module. Ends with an error as soon as a call of theirs fails.
struct Honest {
    /// From the publish to the event at the subscriber.
    delivered: mpsc::UnboundedReceiver<Duration>,
    tasks: Vec<JoinHandle<()>>,
}

impl Honest {
    /// Each has a connection.
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

    /// The 99th percentile of the next so many events, from the publish to the subscriber.
    async fn p99(&mut self, events: usize) -> Duration {
        while self.delivered.try_recv().is_ok() {}
        let mut times = Vec::new();
        while times.len() < events {
            let time = within("an event of the honest publisher", self.delivered.recv()).await;
            times.push(time.expect("no call of honest clients fails"));
        }
        times.sort_unstable();
        times[times.len() * 99 / 100]
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

/// What honest clients see of an attack, from `begin` to `end`: no call of theirs fails, see [`Honest::p99`], and the server stays
/// under its bound. How long they took is printed and not judged, since a machine that does other work as well would fail it.
pub async fn beside<T>(server: &Server, attack: &str, begin: impl AsyncFnOnce() -> T, end: impl AsyncFnOnce(T)) {
    let mut honest = Honest::begin(server, "honest").await;
    let alone = honest.p99(200).await;
    let begun = begin().await;
    let beside = honest.p99(400).await;
    end(begun).await;
    let peak = server.peak_memory_bytes();
    println!("{attack}: peak {} MiB, p99 {beside:?} (alone {alone:?})", peak >> 20);
    assert!(peak <= MEMORY_BYTES + PROGRAM_BYTES, "{attack}: {} MiB", peak >> 20);
}
