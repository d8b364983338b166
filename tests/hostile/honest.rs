//! An honest publisher and an honest subscriber, not affected by the attacks beside them.
//!
//! They have threads of their own, and the attacks get the time that these and the server leave: an attacker is another machine,
//! and its own work is not to be measured.

use std::fs;
use std::thread;
use std::time::Duration;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::{self, subscribe_response::Frame};
use rustix::process::{Pid, setpriority_process};
use tokio::sync::{mpsc, oneshot};
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

/// Names of the threads of honest clients, and of those that attack: the workers of the runtimes of tests.
const HONEST: &str = "honest";
const ATTACKING: &str = "tokio-rt-worker";

/// The honest clients. Any failed call ends the test.
struct Honest {
    /// Latencies from the publish to the subscriber.
    delivered: mpsc::UnboundedReceiver<Duration>,
    /// Dropping it ends the clients.
    _running: [oneshot::Sender<()>; 2],
}

impl Honest {
    /// Each client has its own connection.
    fn begin(server: &Server, run_id: &'static str) -> Self {
        let (times, delivered) = mpsc::unbounded_channel();
        let (published, expected) = mpsc::unbounded_channel();
        let (first, has_run) = oneshot::channel();
        let (publisher, subscriber) = (server.url(), server.url());
        let publishing = in_thread(async move {
            let mut publisher = EventServiceClient::connect(publisher).await.expect("a connection");
            publish(&mut publisher, run_id).await;
            first.send(()).unwrap();
            loop {
                let began = Instant::now();
                let seq = publish(&mut publisher, run_id).await;
                if published.send((seq, began)).is_err() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        let following = in_thread(async move {
            has_run.await.expect("a first event");
            let subscriber = EventServiceClient::connect(subscriber).await.expect("a connection");
            follow(subscriber, run_id, expected, times).await;
        });
        Self { delivered, _running: [publishing, following] }
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

/// Runs a client in a thread of its own, until it ends or the returned sender is dropped.
fn in_thread(client: impl Future<Output = ()> + Send + 'static) -> oneshot::Sender<()> {
    let (running, dropped) = oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                () = client => {}
                _ = dropped => {}
            }
        });
    };
    thread::Builder::new().name(HONEST.to_owned()).spawn(run).unwrap();
    running
}

/// Gives the threads that attack the lowest priority.
fn let_honest_clients_go_first() {
    let mut attacking = 0;
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap();
        let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let id = thread.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        if name.trim_end() == ATTACKING {
            // A thread of another test may have ended.
            let _ = setpriority_process(id, 19);
            attacking += 1;
        }
    }
    assert!(attacking > 0);
}

async fn publish(client: &mut EventServiceClient<Channel>, run_id: &str) -> u64 {
    let request = large_publish(run_id, 1, PAYLOAD_BYTES);
    let answer = within("an answer to the honest publisher", client.publish(request)).await;
    answer.expect("no publish of an honest client fails").into_inner().events[0].seq
}

async fn follow(
    mut client: EventServiceClient<Channel>,
    run_id: &str,
    mut expected: mpsc::UnboundedReceiver<(u64, Instant)>,
    times: mpsc::UnboundedSender<Duration>,
) {
    use pb::subscribe_request::Scope;
    let request = pb::SubscribeRequest { scope: Some(Scope::RunId(run_id.to_owned())), ..Default::default() };
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
    let_honest_clients_go_first();
    let mut honest = Honest::begin(server, "honest");
    let alone = honest.percentiles(200).await;
    let begun = begin().await;
    let beside = honest.percentiles(400).await;
    end(begun).await;
    let peak = server.peak_memory_bytes();
    println!("{attack}: peak {} MiB, p50 and p99 {beside:?}, alone {alone:?}", peak >> 20);
    assert!(peak <= MEMORY_BYTES + PROGRAM_BYTES, "{attack}: {} MiB", peak >> 20);
}
