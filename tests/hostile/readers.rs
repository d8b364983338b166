//! Readers that request much and read nothing.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use runlog::pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::client::{framed, large_publish, publish};
use crate::harness::{Data, Server, eventually, within};
use crate::honest::{SMALL, beside};

/// Number and size of the events in the large run.
const EVENTS: usize = 40;
const PAYLOAD_BYTES: usize = 100 << 10;

const LARGE: &str = "large";

async fn with_a_large_run(options: &[&str]) -> (Data, Server) {
    let data = Data::new();
    let server = Server::with(&data.file(), &[&SMALL[..], options].concat()).await;
    let mut client = server.events().await;
    for _ in 0..EVENTS / 20 {
        client.publish(large_publish(LARGE, 20, PAYLOAD_BYTES)).await.unwrap();
    }
    (data, server)
}

/// A connection whose calls have this flow-control window.
async fn connect(
    server: &Server,
    window: u32,
    tasks: &mut JoinSet<()>,
) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (sender, connection) = builder.handshake(TokioIo::new(socket)).await.unwrap();
    tasks.spawn(async move { drop(connection.await) });
    sender
}

/// Calls without a reader of the answers.
async fn stalled(
    server: &Server,
    connections: usize,
    calls: usize,
    window: u32,
    path: &str,
    message: &impl Message,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let sender = connect(server, window, &mut tasks).await;
        for _ in 0..calls {
            let mut sender = sender.clone();
            let request = Request::post(format!("http://{}{path}", server.address))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(framed(message)))
                .unwrap();
            tasks.spawn(async move {
                if sender.ready().await.is_ok()
                    && let Ok(response) = sender.send_request(request).await
                {
                    std::future::pending::<()>().await;
                    drop(response);
                }
            });
        }
    }
    tasks
}

/// Sockets that send the request and read nothing; the receive buffers are small.
async fn deaf(server: &Server, count: usize, request: &str) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut socket = socket.connect(server.address).await.unwrap();
        // The server may have closed the connection already.
        let _ = socket.write_all(request.as_bytes()).await;
        sockets.push(socket);
    }
    sockets
}

fn list() -> pb::ListEventsRequest {
    let scope = Some(pb::list_events_request::Scope::RunId(LARGE.to_owned()));
    pb::ListEventsRequest { scope, page_size: 1_000, ..Default::default() }
}

fn subscribe() -> pb::SubscribeRequest {
    let scope = Some(pb::subscribe_request::Scope::RunId(LARGE.to_owned()));
    pb::SubscribeRequest { scope, keep_open: true, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_lists_that_are_never_read_leave_memory_and_honest_clients_alone() {
    let (_data, server) = with_a_large_run(&[]).await;
    let attack = async || stalled(&server, 1, 1_000, 0, "/runlog.v1.EventService/ListEvents", &list()).await;
    beside(&server, "1,000 lists with a window of 0", attack, async |attack| drop(attack)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_subscribers_who_never_read_leave_memory_and_honest_clients_alone() {
    let (_data, server) = with_a_large_run(&[]).await;
    let attack = async || stalled(&server, 50, 100, 1, "/runlog.v1.EventService/Subscribe", &subscribe()).await;
    beside(&server, "5,000 subscribers who never read", attack, async |attack| drop(attack)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sockets_that_never_read_leave_memory_and_honest_clients_alone() {
    let (_data, server) = with_a_large_run(&[]).await;
    let list = format!("GET /api/structure-runs/{LARGE}/events?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let stream = format!("GET /v1/runs/{LARGE}/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let attack = async || (deaf(&server, 500, &list).await, deaf(&server, 500, &stream).await);
    beside(&server, "500 lists and 500 event streams that are never read", attack, async |sockets| drop(sockets)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_cut_and_who_takes_a_little_is_not() {
    let (_data, server) = with_a_large_run(&["--stall-timeout-ms", "1000"]).await;
    let stream = format!("GET /v1/runs/{LARGE}/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut polite = deaf(&server, 1, &stream).await.remove(0);
    let deaf_ones = deaf(&server, 1, &stream).await;
    let mut tasks = stalled(&server, 1, 1, 1, "/runlog.v1.EventService/Subscribe", &subscribe()).await;
    let cut = "runlog_cut_connections_total{reason=\"no_progress\"}";
    let mut buffer = [0; 64 << 10];
    eventually("the end of both that take nothing", async || {
        // A read opens the flow-control window.
        assert!(within("a part of the stream", polite.read(&mut buffer)).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.metric(cut).await >= 2.0
    })
    .await;
    within("the end of the cut call", tasks.join_next()).await;
    let read = within("more of the stream", polite.read(&mut buffer)).await;
    assert!(read.is_ok_and(|bytes| bytes > 0), "the one that takes a little goes on");
    assert_eq!(server.metric(cut).await, 2.0);
    drop(deaf_ones);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pipelines_requests_and_reads_no_answer_is_cut() {
    let data = Data::new();
    let server = Server::with(&data.file(), &[&SMALL[..], &["--stall-timeout-ms", "1000"]].concat()).await;
    let requests = "OPTIONS /v1/runs HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_000);
    let mut socket = deaf(&server, 1, "").await.remove(0);
    let sent = async { while socket.write_all(requests.as_bytes()).await.is_ok() {} };
    within("the end of the connection", sent).await;
    assert!(server.metric("runlog_cut_connections_total{reason=\"no_progress\"}").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_streams_whose_answers_are_not_read_are_bounded_by_the_memory_of_answers() {
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let mut batch = publish("answers");
    batch.events = vec![batch.events[0].clone(); 1_000];
    for (index, event) in batch.events.iter_mut().enumerate() {
        event.event_id = format!("e{index}");
    }
    let message = framed(&pb::PublishStreamRequest { publish: Some(batch) });
    // Repeats, so that nothing grows but the answers.
    let body = Bytes::from(message.repeat(400));
    let mut tasks = JoinSet::new();
    let sender = connect(&server, 0, &mut tasks).await;
    for _ in 0..8 {
        let mut sender = sender.clone();
        let request = Request::post(format!("http://{}/runlog.v1.EventService/PublishStream", server.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body.clone()))
            .unwrap();
        tasks.spawn(async move {
            if sender.ready().await.is_ok() {
                drop(sender.send_request(request).await);
            }
            std::future::pending::<()>().await;
        });
    }
    let attack = async || ();
    beside(&server, "8 streams of publishes whose answers are not read", attack, async |()| drop(tasks)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_many_pieces_is_whole() {
    let (_data, server) = with_a_large_run(&[]).await;
    let mut tasks = JoinSet::new();
    let mut sender = connect(&server, 65_535, &mut tasks).await;
    let request = Request::get(format!("http://{}/api/structure-runs/{LARGE}/events?limit=1000", server.address));
    let response = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    let text = within("the body", response.into_body().collect()).await.unwrap().to_bytes();
    let page: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(page["events"].as_array().map(Vec::len), Some(30), "as many as one page holds");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_whose_filter_lets_nothing_more_through_leave_room_to_the_calls_beside_them() {
    const SUBSCRIBERS: usize = 20;
    let data = Data::new();
    let server = Server::with(&data.file(), &SMALL).await;
    let mut client = server.events().await;
    client.publish(publish("filtered")).await.unwrap();
    // A filtered page looks at 500 events. The rest needs another step, which has no events for the reader.
    let mut rest = publish("filtered");
    rest.events = vec![rest.events[0].clone(); 600];
    rest.events[0].r#type = "wanted".to_owned();
    let filter = pb::EventFilter { types: vec!["wanted".to_owned()], ..pb::EventFilter::default() };
    let scope = Some(pb::subscribe_request::Scope::RunId("filtered".to_owned()));
    let request = pb::SubscribeRequest { scope, filter: Some(filter), ..pb::SubscribeRequest::default() };
    let mut readers = Vec::new();
    for _ in 0..SUBSCRIBERS {
        readers.push(client.subscribe(request.clone()).await.unwrap().into_inner());
    }
    client.publish(rest).await.unwrap();
    let mut waiting = JoinSet::new();
    for mut reader in readers {
        loop {
            let frame = within("a frame", reader.message()).await.unwrap().unwrap().frame.unwrap();
            if matches!(frame, pb::subscribe_response::Frame::Events(_)) {
                break;
            }
        }
        waiting.spawn(async move { reader.message().await });
    }
    let scope = Some(pb::list_events_request::Scope::RunId("filtered".to_owned()));
    let list = pb::ListEventsRequest { scope, ..pb::ListEventsRequest::default() };
    for _ in 0..10 {
        client.list_events(list.clone()).await.unwrap();
    }
}
