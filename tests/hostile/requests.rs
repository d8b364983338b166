//! Requests that begin and never end, and more requests than memory allows.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::client::{Http2, Sent, exchange, large_publish, reason};
use crate::harness::{Data, Server, eventually, within};
use crate::honest::{SMALL, beside};

/// A body of nearly 4 MiB without its last bytes.
fn unfinished() -> Vec<u8> {
    let length = 4 << 20;
    let mut request =
        format!("POST /v1/runs/r/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    request.resize(request.len() + length - 1_000, b' ');
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_stop_before_their_end_leave_memory_and_honest_clients_alone() {
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let attack = async || {
        let mut bodies = JoinSet::new();
        for _ in 0..250 {
            let address = server.address;
            bodies.spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                // In pieces: through loopback, one write of 4 MiB holds a CPU for more than 10 ms.
                for piece in unfinished().chunks(16 << 10) {
                    if socket.write_all(piece).await.is_err() {
                        return;
                    }
                }
                std::future::pending::<()>().await;
            });
        }
        bodies
    };
    beside(&server, "250 bodies of 4 MiB that stop before their end", attack, async |bodies| drop(bodies)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_large_publishes_than_there_is_memory_for_are_stored_or_refused_by_name() {
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let attack = async || {
        let mut publishes = JoinSet::new();
        for number in 0..320 {
            let mut client = server.events().await;
            let run_id = format!("large-{number}");
            publishes.spawn(async move { client.publish(large_publish(&run_id, 4, 1_000_000)).await.map(drop) });
        }
        publishes
    };
    let are_answered = async |mut publishes: JoinSet<Result<(), Status>>| {
        let mut stored = 0;
        while let Some(answer) = within("an answer", publishes.join_next()).await {
            match answer.unwrap() {
                Ok(()) => stored += 1,
                Err(status) => assert!(
                    matches!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "OVERLOADED")),
                    "{status:?}"
                ),
            }
        }
        println!("{stored} of 320 publishes of 4 MB were stored");
        assert!(stored > 0);
    };
    beside(&server, "320 publishes of 4 MB", attack, are_answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_stands_still_is_refused_by_name_and_an_idle_stream_is_not() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--stall-timeout-ms", "1000"]).await;
    let client = Http2::connect(server.address).await;
    let part = Bytes::from_static(&[0, 0, 0, 0, 100, 1, 2, 3]);
    let status = client.call("/runlog.v1.EventService/Publish", &[], Sent::endless(part)).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "REQUEST_TIMEOUT"), "{status}");
    assert!(status.message().contains("--stall-timeout-ms"), "{status}");
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket
        .write_all(b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .await
        .unwrap();
    let mut answer = vec![0; 1_024];
    let read = within("the refusal", socket.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
    // A stream between two messages has no timeout.
    let mut events = server.events().await;
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let answers = events.publish_stream(tokio_stream::wrappers::ReceiverStream::new(stream));
    let mut answers = within("the stream", answers).await.unwrap().into_inner();
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    let publish = Some(crate::client::publish("r"));
    requests.send(runlog::pb::PublishStreamRequest { publish }).await.unwrap();
    let answer = within("an answer", answers.message()).await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(runlog::pb::publish_stream_response::Result::Published(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_on_a_stream_that_is_idle_now_takes_no_room() {
    use runlog::pb;
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let mut events = server.events().await;
    let (requests, stream) = tokio::sync::mpsc::channel(1);
    let answers = events.publish_stream(tokio_stream::wrappers::ReceiverStream::new(stream));
    let mut answers = within("the stream", answers).await.unwrap().into_inner();
    let publish = large_publish("r", 1, 500_000);
    requests.send(pb::PublishStreamRequest { publish: Some(publish) }).await.unwrap();
    within("an answer", answers.message()).await.unwrap().unwrap();
    // New calls count together with the memory that the stream holds.
    let mut others = Vec::new();
    for _ in 0..8 {
        let scope = Some(pb::subscribe_request::Scope::RunId("r".to_owned()));
        let follow = pb::SubscribeRequest { scope, ..Default::default() };
        others.push(server.events().await.subscribe(follow).await.unwrap().into_inner());
    }
    let calls = "runlog_memory_bytes{part=\"calls\"}";
    eventually("the calls in the metrics", async || server.metric(calls).await >= 9.0 * 6_144.0).await;
    assert_eq!(server.metric("runlog_memory_bytes{part=\"receive\"}").await, 0.0);
    drop((requests, others));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_no_handler_reads_ends_the_connection_so_that_answers_do_not_pile_up() {
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let one = "OPTIONS /v1/runs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
    let refused_call = "POST /runlog.v1.EventService/Publish HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
                        Content-Type: application/grpc-web\r\nContent-Length: 1\r\n\r\nx";
    for one in [one, refused_call] {
        let answers = exchange(server.address, one.repeat(1_000).as_bytes()).await;
        assert_eq!(answers.matches("HTTP/1.1 2").count(), 1, "{answers}");
        assert!(answers.to_ascii_lowercase().contains("connection: close"), "{answers}");
    }
}
