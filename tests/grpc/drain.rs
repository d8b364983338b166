//! Promises 1 and 4 across a restart: acknowledged events are stored, and readers resume from their cursors.

use prost::Message;
use runlog::pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::builders::{json_event, notes, numbered, the_end};
use crate::harness::TestServer;
use crate::reading::{Received, after, events_of, follow_all_runs, follow_run, seqs, types};
use crate::refusal::Refusal;

#[tokio::test]
async fn draining_ends_every_subscription_with_the_cursor_to_go_on_from() {
    let mut server = TestServer::start().await;
    server.publish("r", notes(5)).await;
    let waiting = pb::SubscribeRequest { wait_for_run: true, ..follow_run("none") };
    let filtered = pb::SubscribeRequest { filter: types(&["nothing"]), ..follow_run("r") };
    let mut readers = Vec::new();
    for request in [follow_run("r"), filtered, waiting, follow_all_runs()] {
        let mut reader = server.subscribe(request).await;
        reader.replay().await;
        readers.push(reader);
    }
    server.begin_to_drain();
    for (reader, cursor) in readers.iter_mut().zip([Some("5"), Some("5"), Some("0"), None]) {
        let refusal = Refusal::of(&reader.broken().await).is(Code::Unavailable, "SHUTTING_DOWN");
        assert!(refusal.retry.is_some_and(|delay| !delay.is_zero()));
        assert_eq!(refusal.metadata["resume_cursor"], reader.cursor, "the same as the last frame's");
        assert!(cursor.is_none_or(|cursor| cursor == reader.cursor));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_resumes_after_each_restart_sees_the_run_exactly_once() {
    let mut server = TestServer::start().await;
    let mut seen = Vec::new();
    let mut start = None;
    for round in 0..4_usize {
        let request = pb::SubscribeRequest { start, wait_for_run: true, max_batch: 5, ..follow_run("r") };
        let mut reader = server.subscribe(request).await;
        server.publish("r", (1..=30).map(|n| numbered(round * 30 + n)).collect()).await;
        // A part of the events is read before the drain, the rest afterwards.
        seen.extend(reader.events(10 + round).await);
        server.begin_to_drain();
        let status = loop {
            match reader.try_next().await {
                Ok(received) => seen.extend(events_of(&[received.unwrap()])),
                Err(status) => break status,
            }
        };
        start = after(&Refusal::of(&status).metadata["resume_cursor"]);
        server.restart().await;
    }
    server.publish("r", vec![the_end()]).await;
    let rest = server.subscribe(pb::SubscribeRequest { start, ..follow_run("r") }).await.rest().await;
    seen.extend(events_of(&rest));
    assert_eq!(seqs(&seen), (1..=121).collect::<Vec<_>>());
    assert_eq!(rest.last(), Some(&Received::Ended(pb::RunStatus::Succeeded, 121)));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_stop_at_any_moment() {
    let mut server = TestServer::start().await;
    for round in 0..3_usize {
        let mut client = server.events().await;
        let (acked, mut latest) = tokio::sync::watch::channel(0_u64);
        let writing = tokio::spawn(async move {
            loop {
                let request = crate::builders::publish_request("r", notes(3));
                match client.publish(request).await {
                    Ok(response) => acked.send_replace(response.into_inner().events[2].seq),
                    Err(_) => return *acked.borrow(),
                };
            }
        });
        let enough = server.everything().await.len() as u64 + 30;
        crate::harness::in_time(latest.wait_for(|seq| *seq >= enough)).await.unwrap();
        server.restart().await;
        let acked = crate::harness::in_time(writing).await.unwrap();
        let stored = server.everything().await;
        assert_eq!(seqs(&stored), (1..=stored.len() as u64).collect::<Vec<_>>());
        assert!(stored.len() as u64 >= acked && stored.len() % 3 == 0, "round {round}");
    }
}

#[tokio::test]
async fn who_comes_during_the_drain_is_refused_at_once() {
    let mut server =
        TestServer::start_with(|options| options.connections.drain_timeout = std::time::Duration::from_millis(600_000))
            .await;
    let large = json_event("large", &format!("\"{}\"", "x".repeat(1_000_000)));
    for _ in 0..20 {
        server.publish("r", vec![large.clone()]).await;
    }
    // More is pending for this reader than fits into the connection, so the drain must wait.
    let reader = server.subscribe(follow_run("r")).await;
    let address = server.address();
    server.begin_to_drain();
    crate::harness::in_time(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    drop(reader);
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_at_the_deadline_and_the_store_can_be_opened_again() {
    let mut server = TestServer::start_with(|options| {
        options.connections.drain_timeout = std::time::Duration::from_millis(100);
        options.connections.stream_window_bytes = 65_535;
        options.connections.connection_window_bytes = 65_535;
    })
    .await;
    let large = json_event("large", &format!("\"{}\"", "x".repeat(1_000_000)));
    for _ in 0..20 {
        server.publish("r", vec![large.clone()]).await;
    }
    let mut stuck = server.subscribe(follow_run("r")).await;
    stuck.next().await;
    server.restart().await;
    assert_eq!(server.publish("r", notes(1)).await.events[0].seq, 21);
    let start = after(&stuck.cursor);
    let mut resumed = server.subscribe(pb::SubscribeRequest { start, ..follow_run("r") }).await;
    assert_eq!(resumed.events(1).await[0].seq, stuck.cursor.parse::<u64>().unwrap() + 1);
}

/// The frames that come on a connection of HTTP/2.
struct RawFrames {
    socket: TcpStream,
    received: Vec<u8>,
}

impl RawFrames {
    /// Type and flags of the next frame.
    async fn next(&mut self) -> (u8, u8) {
        loop {
            if let [a, b, c, kind, flags, _, _, _, _, rest @ ..] = &self.received[..]
                && let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap()
                && rest.len() >= length
            {
                let frame = (*kind, *flags);
                self.received.drain(..9 + length);
                return frame;
            }
            let mut buffer = [0; 4_096];
            let count = crate::harness::in_time(self.socket.read(&mut buffer)).await.unwrap();
            assert!(count > 0, "the connection has ended");
            self.received.extend_from_slice(&buffer[..count]);
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;
/// Flags of a frame.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of the stream 1, or of the connection.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A connection with one open subscription, which has received its first message.
async fn raw_subscription(server: &TestServer) -> RawFrames {
    const SETTINGS: u8 = 4;
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/runlog.v1.EventService/Subscribe"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    // Literal header fields without indexing (RFC 7541, section 6.2.2).
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let block: Vec<u8> = headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    let message = pb::SubscribeRequest { wait_for_run: true, ..follow_run("none") }.encode_to_vec();
    let message = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    let mut socket = TcpStream::connect(server.address()).await.unwrap();
    let hello = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_HEADERS, 1, &block),
        frame(DATA, END_STREAM, 1, &message),
    ];
    socket.write_all(&hello.concat()).await.unwrap();
    let mut frames = RawFrames { socket, received: Vec::new() };
    while frames.next().await.0 != DATA {}
    frames
}

#[tokio::test]
async fn a_subscription_gets_its_status_before_the_connection_is_announced_to_end() {
    let server = TestServer::start().await;
    let mut frames = raw_subscription(&server).await;
    server.begin_to_drain();
    let next = async |frames: &mut RawFrames| loop {
        let frame = frames.next().await;
        if [HEADERS, GOAWAY].contains(&frame.0) {
            return frame;
        }
    };
    assert_eq!(next(&mut frames).await, (HEADERS, END_STREAM | END_HEADERS), "the trailers");
    assert_eq!(next(&mut frames).await.0, GOAWAY);
}
