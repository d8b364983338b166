//! The files of a running server are deleted, replaced or truncated: the server acknowledges no further event, names
//! the reason, and is not ready any more.

mod log;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runlog::pb;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{self, Events};
use crate::harness::{Data, Server, eventually, within};

const SERVICES: [&str; 3] = ["", "runlog.v1.EventService", "runlog.v1.RunService"];

/// Publishes one event after the other, without a pause, until stopped.
struct Publisher {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Published>,
}

#[derive(Default)]
struct Published {
    /// Number of the event, and the start of its request.
    acked: Vec<(usize, Instant)>,
    refused: Vec<(Instant, (Code, String))>,
}

impl Publisher {
    async fn start(server: &Server) -> Self {
        let (stop, mut events) = (Arc::new(AtomicBool::new(false)), server.events().await);
        let is_stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut published = Published::default();
            for n in 1.. {
                if is_stopped.load(Ordering::Relaxed) {
                    break;
                }
                let began = Instant::now();
                match publish(&mut events, n).await {
                    Ok(()) => published.acked.push((n, began)),
                    Err(status) => published.refused.push((began, client::refusal(&status))),
                }
            }
            published
        });
        Self { stop, task }
    }

    async fn stop(self) -> Published {
        self.stop.store(true, Ordering::Relaxed);
        within("the publisher", self.task).await.unwrap()
    }
}

async fn publish(events: &mut Events, n: usize) -> Result<(), tonic::Status> {
    let event = client::event(&format!("e{n}"), "step", &format!("{{\"n\":{n}}}"));
    events.publish(client::publish("r", vec![event])).await.map(drop)
}

async fn is_in(server: &Server, status: ServingStatus) -> bool {
    let mut health = HealthClient::new(server.channel().await);
    for service in SERVICES {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        if answer.status() != status {
            return false;
        }
    }
    true
}

/// Code and body of `/health/ready`.
async fn ready(server: &Server) -> (u16, String) {
    let answer = reqwest::get(format!("{}/health/ready", server.url())).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Longest time of acknowledgements after a loss.
const BOUND: Duration = Duration::from_secs(1);

/// Removes the files of a server under load and checks the promises. Returns the server, and the number of acknowledged
/// events.
async fn loses(name: &Path, fault: impl FnOnce(), problem: &str) -> (Server, usize) {
    let server = Server::start(name).await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(within("health", watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let publisher = Publisher::start(&server).await;
    let mut events = server.events().await;
    eventually("events", async || client::list_after(&mut events, "r", 50).await.is_ok_and(|found| !found.is_empty()))
        .await;
    assert_eq!(ready(&server).await.0, 200);

    fault();
    let fault_ended = Instant::now();
    let received = within("health", watch.message()).await.unwrap().unwrap();
    assert_eq!(received.status(), ServingStatus::NotServing);
    assert!(is_in(&server, ServingStatus::NotServing).await, "the server and each service");
    let (status, body) = ready(&server).await;
    assert_eq!(status, 503);
    assert!(body.contains("store_lost") && body.contains(problem), "{body}");
    let log = server.says(problem).await;
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(problem)).collect();
    assert!(lines.len() == 1 && lines[0].contains("ERROR"), "the log says why, once: {log}");
    eventually("a refusal", async || publish(&mut events, 0).await.is_err()).await;
    let published = publisher.stop().await;

    let late = published.acked.iter().filter(|(_, began)| *began > fault_ended + BOUND).count();
    assert_eq!(late, 0, "nothing that was sent a second after the loss is acknowledged");
    // Writes in flight at the moment of the loss.
    let is_open = |(_, (_, reason)): &&(Instant, (Code, String))| reason == "OUTCOME_UNKNOWN";
    assert!(published.refused.iter().filter(is_open).count() <= 1);
    for (_, refusal) in published.refused.iter().filter(|refused| !is_open(refused)) {
        assert_eq!(*refusal, (Code::Unavailable, "STORE_LOST".to_owned()));
    }
    is_refused(&server, problem).await;
    let acked = published.acked.len();
    assert!(published.acked.iter().map(|(n, _)| *n).eq(1..=acked), "no event is acknowledged behind one that was not");
    (server, acked)
}

/// Asserts that writes and reads are refused, over gRPC and over REST.
async fn is_refused(server: &Server, problem: &str) {
    let mut events = server.events().await;
    let refusals = [
        publish(&mut events, 0).await.unwrap_err(),
        client::list_after(&mut events, "r", 0).await.unwrap_err(),
        events.subscribe(client::follow("r")).await.map(drop).unwrap_err(),
        server.runs().await.get_run(pb::GetRunRequest { run_id: "r".to_owned() }).await.map(drop).unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(client::refusal(&refused), (Code::Unavailable, "STORE_LOST".to_owned()));
        assert!(refused.message().contains(problem), "{refused:?}");
    }
    for path in ["v1/runs", "v1/runs/r", "api/runs"] {
        let answer = reqwest::get(format!("{}/{path}", server.url())).await.unwrap();
        assert_eq!(answer.status().as_u16(), 503, "{path}");
        assert!(answer.text().await.unwrap().contains(problem), "{path}");
    }
}

/// Asserts that the next server has all acknowledged events.
async fn has_all(name: &Path, acked: usize) {
    let server = Server::start(name).await;
    let stored = client::list(&mut server.events().await, "r").await;
    assert!(stored.len() >= acked && stored.iter().zip(1..).all(|(event, n)| event.event_id == format!("e{n}")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_file_is_deleted_acknowledges_nothing_more_and_says_why() {
    let data = Data::new();
    let file = data.file();
    let (server, _) = loses(&file, || fs::remove_file(&file).unwrap(), "deleted or moved").await;
    // Another file of that name changes nothing.
    File::create(&file).unwrap();
    is_refused(&server, "deleted or moved").await;
    server.terminate().await;
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_file_is_moved_away_serves_it_again_after_a_restart_only() {
    let data = Data::new();
    let (file, away) = (data.file(), data.directory().join("away.db"));
    let (server, acked) = loses(&file, || fs::rename(&file, &away).unwrap(), "deleted or moved").await;
    fs::rename(&away, &file).unwrap();
    is_refused(&server, "deleted or moved").await;
    assert!(is_in(&server, ServingStatus::NotServing).await);
    server.kill().await;
    has_all(&file, acked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_file_is_replaced_acknowledges_nothing_more_and_leaves_the_other_one_alone() {
    let data = Data::new();
    let (file, other) = (data.file(), data.directory().join("other.db"));
    let server = Server::start(&other).await;
    server.terminate().await;
    server.ended().await;
    let before = fs::read(&other).unwrap();
    let (server, _) = loses(&file, || fs::rename(&other, &file).unwrap(), "replaced").await;
    server.terminate().await;
    server.ended().await;
    assert!(fs::read(&file).unwrap() == before, "nothing was written to it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_link_leads_to_another_file_acknowledges_nothing_more() {
    let data = Data::new();
    let [file, other, link, new] =
        ["runlog.db", "other.db", "link.db", "new.db"].map(|name| data.directory().join(name));
    File::create(&other).unwrap();
    symlink(&file, &link).unwrap();
    symlink(&other, &new).unwrap();
    let (server, acked) = loses(&link, || fs::rename(&new, &link).unwrap(), "replaced").await;
    server.kill().await;
    has_all(&file, acked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_file_is_truncated_acknowledges_nothing_more() {
    let data = Data::new();
    let file = data.file();
    let truncate = || File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    loses(&file, truncate, "made shorter").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_file_is_overwritten_acknowledges_nothing_a_second_later() {
    let data = Data::new();
    let file = data.file();
    let overwrite = || {
        use std::os::unix::fs::FileExt;
        File::options().write(true).open(&file).unwrap().write_all_at(&[0xa5; 4_096], 0).unwrap();
    };
    loses(&file, overwrite, "overwritten").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_server_notices_that_its_file_is_gone_and_ends_the_streams_that_follow_it() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    publish(&mut events, 1).await.unwrap();
    let request = pb::SubscribeRequest {
        heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..client::follow("r")
    };
    let mut frames = events.subscribe(request).await.unwrap().into_inner();
    client::caught_up(&mut frames).await;
    fs::remove_file(data.file()).unwrap();
    eventually("health", async || is_in(&server, ServingStatus::NotServing).await).await;
    let ended = loop {
        if let Err(status) = client::frame(&mut frames).await {
            break status;
        }
    };
    assert_eq!(client::refusal(&ended), (Code::Unavailable, "STORE_LOST".to_owned()));
    is_refused(&server, "deleted or moved").await;
}
