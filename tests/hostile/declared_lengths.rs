//! The length prefix of a gRPC message: memory is used for received bytes, not for declared lengths.

use bytes::Bytes;
use tokio::task::JoinSet;
use tonic::Code;

use crate::client::{Http2, Sent, framed, large_publish, publish, reason};
use crate::harness::{Data, Server};

const CONNECTIONS: usize = 5;
const STREAMS: usize = 1_000;

/// The prefix of a message of nearly 4 MiB, without the message.
const HEAD: [u8; 5] = [0, 0, 0x3f, 0xff, 0xff];

#[tokio::test]
async fn five_thousand_calls_that_declare_four_mebibytes_and_send_none_cost_what_they_sent() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let before = server.memory_bytes();
    let mut calls = JoinSet::new();
    for number in 0..CONNECTIONS {
        let client = Http2::connect(server.address).await;
        let content_type = ["application/grpc", "application/grpc-web+proto"][number % 2];
        let methods =
            ["EventService/Publish", "EventService/PublishStream", "EventService/ListEvents", "RunService/CreateRun"];
        for path in methods.map(|method| format!("/runlog.v1.{method}")).iter().cycle().take(STREAMS) {
            let (client, path) = (client.clone(), path.clone());
            calls.spawn(async move {
                let head = Sent::endless(Bytes::from_static(&HEAD));
                drop(client.send(&path, &[("content-type", content_type)], head).await);
            });
        }
        // Frames of a connection arrive in order: an answer to this call proves that all earlier frames have arrived.
        let own = format!("honest-{number}");
        let status = client.call("/runlog.v1.EventService/Publish", &[], Sent::whole(framed(&publish(&own)))).await;
        assert_eq!(status.code(), Code::Ok, "{status}");
    }
    let cost = server.memory_bytes().saturating_sub(before);
    // 5,000 HTTP/2 streams and calls, a few KiB each.
    assert!(cost < 100 << 20, "{} MiB", cost >> 20);
    calls.shutdown().await;
}

#[tokio::test]
async fn a_message_in_pieces_is_read_and_one_that_declares_too_much_is_refused_by_its_head() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let client = Http2::connect(server.address).await;
    let head = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    let status = client.call("/runlog.v1.EventService/Publish", &[], Sent::endless(head)).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"), "{status}");
    let cut = framed(&publish("r")).slice(..7);
    let status = client.call("/runlog.v1.EventService/Publish", &[], Sent::whole(cut)).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "MALFORMED_REQUEST"), "{status}");
    // Many frames, and more than one flow-control window.
    let large = large_publish("r", 3, 1_000_000);
    let status = client.call("/runlog.v1.EventService/Publish", &[], Sent::whole(framed(&large))).await;
    assert_eq!(status.code(), Code::Ok, "{status}");
}
