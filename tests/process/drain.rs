//! SIGTERM: requests in flight are finished, streams end with a cursor, and endless streams are cut.

use runlog::pb::{self, subscribe_response::Frame};
use tokio::sync::watch;
use tonic::transport::Endpoint;
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::client::{self, Events, event, publish, publish_one};
use crate::harness::{Data, Server, within};
use crate::publishers::{Publisher, Way};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_every_publish_that_was_taken_in_is_answered_and_streams_end_with_a_cursor() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    for _ in 0..3 {
        publish_one(&mut events, "r", "step", "{}").await;
    }
    let mut frames = events.subscribe(client::follow("r")).await.unwrap().into_inner();
    assert_eq!(client::caught_up(&mut frames).await.len(), 3);
    let mut health = HealthClient::new(server.channel().await);
    let mut health = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status, ServingStatus::Serving as i32);
    let (acks, mut acked) = watch::channel(0);
    let mut working = tokio::task::JoinSet::new();
    for (name, way, width) in [("unary", Way::Unary, 2), ("batches", Way::Batches, 3), ("stream", Way::Stream, 10)] {
        working.spawn(Publisher::new(name, way, width).publish(server.events().await, acks.clone()));
    }
    within("acknowledgements", acked.wait_for(|acked| *acked > 500)).await.unwrap();

    server.terminate().await;

    let cut = client::frame(&mut frames).await.unwrap_err();
    assert_eq!(client::refusal(&cut), (Code::Unavailable, "SHUTTING_DOWN".to_owned()));
    assert_eq!(cut.get_details_error_info().unwrap().metadata["resume_cursor"], "3");
    assert_eq!(health.message().await.unwrap().unwrap().status, ServingStatus::NotServing as i32);
    let publishers = within("the end of the publishers", working.join_all()).await;
    let address = server.address;
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("SIGTERM: draining") && log.contains("drained: all calls ended by themselves"), "{log}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");

    let server = Server::start(&data.file()).await;
    let (mut events, mut runs) = (server.events().await, server.runs().await);
    for mut run in publishers.into_iter().flat_map(|publisher| publisher.runs) {
        run.verify(&mut events, &mut runs, true).await;
        assert_eq!(
            run.stored_at_start, run.acked,
            "run {} holds the events acknowledged to its publisher, and no more",
            run.id
        );
    }
    publish_one(&mut events, "r", "run_end", "{}").await;
    let mut frames = events.subscribe(client::follow_from("r", "3")).await.unwrap().into_inner();
    assert_eq!(client::caught_up(&mut frames).await.len(), 1);
}

/// A subscription without a reader, with much more data than its window takes.
async fn unread(server: &Server) -> (Events, Streaming<pb::SubscribeResponse>) {
    let mut events = server.events().await;
    for n in 0..32 {
        let payload = format!("\"{}\"", "x".repeat(200_000));
        events.publish(publish("large", vec![event(&format!("{n}"), "step", &payload)])).await.unwrap();
    }
    let channel = Endpoint::from_shared(server.url()).unwrap().initial_stream_window_size(65_535);
    let channel = channel.initial_connection_window_size(65_535).connect().await.unwrap();
    let mut events = Events::new(channel).max_decoding_message_size(64 << 20);
    let mut frames = events.subscribe(client::follow("large")).await.unwrap().into_inner();
    assert!(matches!(client::frame(&mut frames).await.unwrap().frame, Some(Frame::Events(_))));
    (events, frames)
}

#[tokio::test]
async fn a_call_that_never_ends_is_cut_at_the_drain_timeout() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--drain-timeout-ms", "300"]).await;
    let _unread = unread(&server).await;
    server.terminate().await;
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drained: calls that went on were cut") && log.contains("\"timeout_ms\":300"), "{log}");
}

#[tokio::test]
async fn a_second_sigterm_exits_at_once() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--drain-timeout-ms", "600000"]).await;
    let _unread = unread(&server).await;
    server.terminate().await;
    server.says("SIGTERM: draining").await;
    server.terminate().await;
    let (status, log) = server.ended().await;
    assert_eq!(status.code(), Some(128 + 15), "{log}");
    assert!(log.contains("SIGTERM again"), "{log}");
    let server = Server::start(&data.file()).await;
    assert_eq!(client::list(&mut server.events().await, "large").await.len(), 32);
}

#[tokio::test]
async fn a_server_without_calls_ends_at_once_and_says_so() {
    for signal in ["TERM", "INT"] {
        let data = Data::new();
        let server = Server::with(&data.file(), &["--drain-timeout-ms", "600000"]).await;
        server.signal(signal).await;
        let (status, log) = server.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains(&format!("SIG{signal}: draining")) && log.contains("drained: all calls"), "{log}");
    }
}
