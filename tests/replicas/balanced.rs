//! Three replicas behind the balancer in `deploy/`; all clients use the balancer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::publish_stream_response::Result as Answer;
use runlog::pb::{NewEvent, PublishRequest, PublishStreamRequest};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::cluster::Database;
use crate::envoy::Envoy;
use crate::page::Page;
use crate::replica::Replica;
use crate::world::{GUARD, World, event, may_be_repeated};

/// Events that must be acknowledged before and after each fault.
const SOME: usize = 150;

/// Connections of clients to the balancer.
const CHANNELS: usize = 3;

async fn three_replicas(database: &Database) -> Option<(Vec<Replica>, Envoy)> {
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Replica::start(&database.url(), &["--drain-timeout-ms=5000"]).await);
    }
    let addresses: Vec<SocketAddr> = replicas.iter().map(Replica::address).collect();
    let envoy = Envoy::start(&addresses).await?;
    Some((replicas, envoy))
}

fn channel(envoy: &Envoy) -> Channel {
    Endpoint::from_shared(envoy.url()).unwrap().connect_lazy()
}

/// Requests that a client streams at a time.
const STREAMED: usize = 8;

/// Publishes by PublishStream; unanswered requests of a broken stream are sent again on the next stream.
async fn stream(world: Arc<World>) {
    for n in 0_usize.. {
        if world.is_stopped() {
            return;
        }
        let mut left: Vec<PublishRequest> = (0..STREAMED)
            .map(|k| PublishRequest {
                run_id: "r1".to_owned(),
                events: vec![event(&format!("s{n}-{k}"))],
                expected_last_seq: None,
            })
            .collect();
        for attempt in 0_usize.. {
            if left.is_empty() {
                break;
            }
            let requests = left.clone().into_iter().map(|publish| PublishStreamRequest { publish: Some(publish) });
            let mut client = world.events(n + attempt);
            let mut answers = match timeout(GUARD / 6, client.publish_stream(tokio_stream::iter(requests))).await {
                Ok(Ok(answers)) => answers.into_inner(),
                refused => {
                    if let Ok(Err(status)) = refused {
                        may_be_repeated(&status);
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            while let Ok(Ok(Some(answer))) = timeout(GUARD / 6, answers.message()).await {
                match answer.result.unwrap() {
                    Answer::Published(answer) => world.acknowledge(&left.remove(0).run_id, &answer.events),
                    Answer::Failure(_) => break,
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_reader_behind_the_balancer_holds_the_promises_while_replicas_die_and_drain() {
    let Some(database) = Database::create().await else { return };
    let Some((replicas, envoy)) = three_replicas(&database).await else { return };
    let channels = (0..CHANNELS).map(|_| channel(&envoy)).collect();
    let (world, mut busy) = World::behind(channels, database, replicas);
    busy.publishers.spawn(stream(world.clone()));
    world.more(SOME).await;
    let page = Page::open(&envoy.url(), "r0");
    for round in 0..6 {
        let victim = &world.replicas[round % 3];
        if round % 2 == 0 {
            victim.kill().await;
        } else {
            victim.drain().await;
        }
        world.more(SOME).await;
        victim.restart().await;
        envoy.sees(3).await;
        world.more(SOME).await;
    }
    // Each running replica.
    for replica in &world.replicas {
        while calls(replica, "Publish").await == 0 || calls(replica, "PublishStream").await == 0 {
            world.more(1).await;
        }
    }
    busy.check(&world).await;
    let end = NewEvent { r#type: "run_end".to_owned(), ..event("end") };
    let end = PublishRequest { run_id: "r0".to_owned(), events: vec![end], expected_last_seq: None };
    let last_seq = world.events(0).publish(end).await.unwrap().into_inner().events[0].seq;
    if let Some(page) = page {
        page.check(last_seq).await;
    }
}

/// Number of successful calls of a method on this replica.
async fn calls(replica: &Replica, method: &str) -> u64 {
    let metrics = reqwest::get(format!("http://{}/metrics", replica.address())).await.unwrap().text().await.unwrap();
    let name = format!("runlog_grpc_requests_total{{method=\"/runlog.v1.EventService/{method}\",code=\"0\"}} ");
    metrics.lines().filter_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).sum()
}

/// Publishes events without ids in order, each once, until stopped; returns their number.
async fn publish_once_each(mut client: EventServiceClient<Channel>, run: String, stop: CancellationToken) -> u64 {
    let mut published = 0;
    while !stop.is_cancelled() {
        let nameless = NewEvent { event_id: String::new(), ..event("x") };
        let request =
            PublishRequest { run_id: run.clone(), events: vec![nameless], expected_last_seq: Some(published) };
        let answer = client.publish(request).await.expect("nobody notices that a replica drains");
        published += 1;
        assert_eq!(answer.into_inner().events[0].seq, published);
    }
    published
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_behind_the_balancer_notice_nothing_of_replicas_that_drain() {
    let Some(database) = Database::create().await else { return };
    let Some((replicas, envoy)) = three_replicas(&database).await else { return };
    let (stop, mut publishers) = (CancellationToken::new(), JoinSet::new());
    for n in 0..12 {
        let client = EventServiceClient::new(channel(&envoy));
        publishers.spawn(publish_once_each(client, format!("r{n}"), stop.clone()));
    }
    for replica in replicas.iter().chain(&replicas) {
        let before = calls(replica, "Publish").await;
        while calls(replica, "Publish").await < before + 20 {
            assert!(publishers.try_join_next().is_none(), "no publisher was refused");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        replica.drain().await;
        replica.restart().await;
        envoy.sees(3).await;
    }
    stop.cancel();
    let published = timeout(GUARD, publishers.join_all()).await.expect("the publishers are answered");
    assert!(published.iter().all(|count| *count > 0), "{published:?}");
}
