//! gRPC-web over HTTP/1.1, as browsers send it, and what is answered to all that is no gRPC.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use prost::Message;
use reqwest::{Client, Method, Response};
use runlog::config::ServeOptions;
use runlog::pb;

use crate::builders::{json_event, notes, publish_request, the_end};
use crate::harness::TestServer;
use crate::reading::{follow_run, list_run, seqs};

const WEB: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";
const ORIGIN: &str = "https://app.example";
const EVENTS: &str = "runlog.v1.EventService";

fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat()
}

async fn post(server: &TestServer, method: &str, content_type: &str, body: Vec<u8>) -> Response {
    let url = format!("http://{}/{EVENTS}/{method}", server.address());
    let request = Client::new().post(url).header("content-type", content_type).header("accept", content_type);
    request.header("x-grpc-web", "1").header("origin", ORIGIN).body(body).send().await.unwrap()
}

/// The messages of a body, and its trailers.
fn parts<M: Message + Default>(mut body: &[u8]) -> (Vec<M>, String) {
    let (mut messages, mut trailers) = (Vec::new(), String::new());
    while let [flag, a, b, c, d, rest @ ..] = body {
        let (frame, rest) = rest.split_at(usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap());
        match flag {
            0 => messages.push(M::decode(frame).unwrap()),
            0x80 => trailers.push_str(std::str::from_utf8(frame).unwrap()),
            other => panic!("a frame with the flag {other}"),
        }
        body = rest;
    }
    assert!(body.is_empty());
    (messages, trailers)
}

async fn start() -> TestServer {
    TestServer::start_with(|options: &mut ServeOptions| options.connections.cors_origins = vec![ORIGIN.to_owned()])
        .await
}

#[tokio::test]
async fn a_page_publishes_lists_and_follows_in_binary() {
    let server = start().await;
    let request = publish_request("r", notes(3).into_iter().chain([the_end()]).collect());
    let answer = post(&server, "Publish", WEB, framed(&request)).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()), (200, WEB));
    assert_eq!(answer.headers()["access-control-allow-origin"], ORIGIN);
    let (published, trailers) = parts::<pb::PublishResponse>(&answer.bytes().await.unwrap());
    assert_eq!(published[0].events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(trailers.contains("grpc-status:0\r\n"), "{trailers}");

    let answer = post(&server, "ListEvents", WEB, framed(&list_run("r"))).await;
    let (pages, _) = parts::<pb::ListEventsResponse>(&answer.bytes().await.unwrap());
    assert_eq!(seqs(&pages[0].events), [1, 2, 3, 4]);

    let answer = post(&server, "Subscribe", WEB, framed(&follow_run("r"))).await;
    let (frames, trailers) = parts::<pb::SubscribeResponse>(&answer.bytes().await.unwrap());
    let Some(pb::subscribe_response::Frame::RunEnded(ended)) = &frames.last().unwrap().frame else {
        panic!("{frames:?}")
    };
    assert_eq!(ended.last_seq, 4);
    assert!(trailers.contains("grpc-status:0\r\n"), "{trailers}");
}

#[tokio::test]
async fn the_text_form_is_base64_and_a_large_message_of_it_is_whole() {
    let server = start().await;
    let large = json_event("large", &format!("\"{}\"", "x".repeat(900_000)));
    let body = STANDARD.encode(framed(&publish_request("r", vec![large.clone(), large])));
    let answer = post(&server, "Publish", TEXT, body.into()).await;
    assert_eq!(answer.headers()["content-type"], "application/grpc-web-text+proto");
    let text = answer.text().await.unwrap();
    // Each frame is padded by itself.
    let frames = text.split('=').filter(|frame| !frame.is_empty());
    let body: Vec<u8> = frames.flat_map(|frame| STANDARD_NO_PAD.decode(frame).unwrap()).collect();
    let (published, trailers) = parts::<pb::PublishResponse>(&body);
    assert_eq!(published[0].events.len(), 2);
    assert!(trailers.contains("grpc-status:0\r\n"), "{trailers}");
}

#[tokio::test]
async fn an_error_has_its_code_reason_and_field_where_a_page_may_read_them() {
    let server = start().await;
    let answer = post(&server, "Publish", WEB, framed(&publish_request("r", vec![json_event("", "{}")]))).await;
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_ascii_lowercase());
    assert_eq!(header("grpc-status").as_deref(), Some("3"));
    assert_eq!(header("runlog-reason").as_deref(), Some("invalid_field"));
    assert_eq!(header("runlog-field").as_deref(), Some("events[0].type"));
    let exposed = header("access-control-expose-headers").unwrap();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "runlog-reason", "runlog-field"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{name} of {exposed}");
        assert!(header(name).is_some(), "{name}");
    }
    let missing = post(&server, "Missing", WEB, Vec::new()).await;
    assert_eq!(missing.headers()["grpc-status"], "12");
    let too_large = framed(&publish_request("r", vec![json_event("large", &"x".repeat(5 << 20))]));
    let answer = post(&server, "Publish", WEB, too_large).await;
    assert_eq!(answer.headers()["runlog-reason"], "REQUEST_TOO_LARGE");
    assert_eq!(post(&server, "Publish", WEB, vec![1, 2]).await.headers()["runlog-reason"], "MALFORMED_REQUEST");
}

#[tokio::test]
async fn a_preflight_lets_listed_origins_call_with_the_headers_of_the_published_clients_and_no_other() {
    let server = start().await;
    let sent = "authorization,content-type,grpc-timeout,x-grpc-web,x-user-agent";
    let ask = async |origin: &str, method: &str| {
        let url = format!("http://{}/{EVENTS}/{method}", server.address());
        let request = Client::new().request(Method::OPTIONS, url).header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request.header("access-control-request-headers", sent).send().await.unwrap()
    };
    for method in ["Publish", "Subscribe"] {
        let allowed = ask(ORIGIN, method).await;
        assert_eq!(allowed.status().as_u16(), 200);
        assert_eq!(allowed.headers()["access-control-allow-origin"], ORIGIN);
        assert_eq!(allowed.headers()["access-control-allow-headers"], sent);
        let refused = ask("https://evil.example", method).await;
        assert!(refused.headers().get("access-control-allow-origin").is_none());
    }
    let url = format!("http://{}/{EVENTS}/Publish", server.address());
    let request = Client::new().post(url).header("content-type", WEB).header("origin", "https://evil.example");
    let refused = request.body(framed(&publish_request("r", notes(1)))).send().await.unwrap();
    assert_eq!(refused.headers()["runlog-reason"], "ORIGIN_NOT_ALLOWED");
    assert_eq!(refused.headers()["content-type"], WEB);
    assert_eq!(server.everything().await, [], "nothing of the refused call was stored");
}

#[tokio::test]
async fn what_is_no_grpc_on_a_path_of_grpc_is_answered_by_415_with_what_to_send() {
    let server = TestServer::start().await;
    for (content_type, body) in
        [("application/json", r#"{"run_id":"r"}"#), ("application/grpc-web+json", "{}"), ("application/grpc", "")]
    {
        let url = format!("http://{}/{EVENTS}/Publish", server.address());
        let answer = Client::new().post(url).header("content-type", content_type).body(body).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 415, "{content_type}");
        let text = answer.text().await.unwrap();
        for word in ["HTTP/2", "application/grpc", "application/grpc-web+proto", "/openapi.json"] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}
