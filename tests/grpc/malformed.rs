//! Requests that the gRPC layer refuses before the service: their errors have a reason like all others.

use http::uri::PathAndQuery;
use prost::Message;
use runlog::pb;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::builders::{json_event, publish_request};
use crate::harness::{TestServer, in_time};
use crate::refusal::{Refusal, refused};

/// `PublishRequest` with bytes instead of text.
#[derive(Clone, PartialEq, Message)]
struct RawPublish {
    #[prost(bytes = "vec", tag = "1")]
    run_id: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    events: Vec<RawEvent>,
}

/// `NewEvent` with bytes instead of text.
#[derive(Clone, PartialEq, Message)]
struct RawEvent {
    #[prost(bytes = "vec", tag = "1")]
    event_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    event_type: Vec<u8>,
}

/// `PublishStreamRequest`, and every request whose first field is a message or text.
#[derive(Clone, PartialEq, Message)]
struct RawFirstField {
    #[prost(bytes = "vec", tag = "1")]
    first: Vec<u8>,
}

/// A number where text belongs.
#[derive(Clone, PartialEq, Message)]
struct NumberFirst {
    #[prost(uint64, tag = "1")]
    first: u64,
}

/// Makes a call that the generated client cannot make.
async fn call<M: Message + Default + 'static>(server: &TestServer, method: &'static str, request: M) -> Status {
    let mut client = Grpc::new(server.connect().await);
    client.ready().await.unwrap();
    let codec = ProstCodec::<M, RawFirstField>::default();
    let path = PathAndQuery::from_static(method);
    match in_time(client.server_streaming(Request::new(request), path, codec)).await {
        Err(status) => status,
        Ok(response) => in_time(response.into_inner().message()).await.unwrap_err(),
    }
}

const PUBLISH: &str = "/runlog.v1.EventService/Publish";

#[tokio::test]
async fn text_that_is_no_utf_8_is_malformed_wherever_it_stands() {
    let server = TestServer::start().await;
    let (bad, event_type) = (vec![b'r', 0xff], b"x".to_vec());
    let in_event = |event| RawPublish { run_id: b"r".to_vec(), events: vec![event] };
    let good = RawEvent { event_type: event_type.clone(), ..Default::default() };
    for request in [
        RawPublish { run_id: bad.clone(), events: vec![good] },
        in_event(RawEvent { event_id: bad.clone(), event_type }),
        in_event(RawEvent { event_type: bad.clone(), ..Default::default() }),
    ] {
        let refusal = Refusal::of(&call(&server, PUBLISH, request.clone()).await);
        refusal.is(Code::InvalidArgument, "MALFORMED_REQUEST");
        let in_stream = RawFirstField { first: request.encode_to_vec() };
        let refusal = Refusal::of(&call(&server, "/runlog.v1.EventService/PublishStream", in_stream).await);
        refusal.is(Code::InvalidArgument, "MALFORMED_REQUEST");
    }
    for method in [
        "/runlog.v1.EventService/ListEvents",
        "/runlog.v1.EventService/Subscribe",
        "/runlog.v1.RunService/CreateRun",
        "/runlog.v1.RunService/GetRun",
    ] {
        let refusal = Refusal::of(&call(&server, method, RawFirstField { first: bad.clone() }).await);
        refusal.is(Code::InvalidArgument, "MALFORMED_REQUEST");
    }
    assert!(server.everything().await.is_empty());
}

#[tokio::test]
async fn a_field_of_another_wire_type_is_malformed() {
    let server = TestServer::start().await;
    let refusal = Refusal::of(&call(&server, PUBLISH, NumberFirst { first: 7 }).await);
    refusal.is(Code::InvalidArgument, "MALFORMED_REQUEST");
}

#[tokio::test]
async fn a_request_over_the_bound_is_too_large_and_nothing_of_it_is_stored() {
    let server = TestServer::start().await;
    let event = json_event("big", &format!("\"{}\"", "x".repeat(1_000_000)));
    let request = publish_request("r", vec![event.clone(); 5]);
    let refusal = refused(server.events().await.publish(request.clone()).await);
    refusal.is(Code::ResourceExhausted, "REQUEST_TOO_LARGE");
    assert!(server.everything().await.is_empty());
    server.publish("r", vec![event; 4]).await;
    let server = TestServer::start_with(|options| options.limits.max_request_bytes = 6 << 20).await;
    server.events().await.publish(request).await.unwrap();
}

#[tokio::test]
async fn a_method_that_is_not_there_is_unimplemented() {
    let server = TestServer::start().await;
    for method in ["/runlog.v1.EventService/Nothing", "/runlog.v1.Nothing/Publish", "/runlog.v2.EventService/Publish"] {
        let status = call(&server, method, pb::PublishRequest::default()).await;
        Refusal::of(&status).is(Code::Unimplemented, "UNIMPLEMENTED");
    }
}

#[tokio::test]
async fn fields_of_a_later_version_are_passed_over() {
    #[derive(Clone, PartialEq, Message)]
    struct Later {
        #[prost(string, tag = "1")]
        run_id: String,
        #[prost(message, repeated, tag = "2")]
        events: Vec<pb::NewEvent>,
        #[prost(string, tag = "99")]
        from_the_future: String,
    }
    let server = TestServer::start().await;
    let events = vec![json_event("x", "{}")];
    let request = Later { run_id: "r".to_owned(), events, from_the_future: "x".to_owned() };
    let mut client = Grpc::new(server.connect().await);
    client.ready().await.unwrap();
    let codec = ProstCodec::<Later, pb::PublishResponse>::default();
    let path = PathAndQuery::from_static(PUBLISH);
    let response = in_time(client.unary(Request::new(request), path, codec)).await.unwrap().into_inner();
    assert_eq!(response.events[0].seq, 1);
}
