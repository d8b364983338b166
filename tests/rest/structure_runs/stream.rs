//! The stream: replay from the first event, then live, closed by the server.

use reqwest::{Method, Response};
use serde_json::Value;

use super::{listed, posted};
use crate::harness::Gateway;

const PATH: &str = "/api/structure-runs/r/events/stream";

async fn resumed(gateway: &Gateway, last_event_id: &str) -> Response {
    gateway.client.get(gateway.url(PATH)).header("Last-Event-ID", last_event_id).send().await.unwrap()
}

/// The events as the published reader parses them: each line that begins with `data:` is an event.
fn data(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| line.strip_prefix("data:")).map(|json| serde_json::from_str(json).unwrap()).collect()
}

/// Reads until the text holds `wanted`.
async fn read_until(response: &mut Response, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let chunk = response.chunk().await.unwrap().unwrap_or_else(|| panic!("the stream ended after {text}"));
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

#[tokio::test]
async fn a_finished_run_is_replayed_a_line_an_event_and_closed() {
    let gateway = Gateway::start().await;
    let pretty = "{\"type\":\"t\",\"payload\":{\r\n  \"a\": [\n1\n],\n  \"s\": \"x\\ny\"\n}}";
    posted(&gateway, "r", r#"{"type":"StructureRunRunning","payload":{"status":"RUNNING"}}"#).await;
    posted(&gateway, "r", pretty).await;
    posted(&gateway, "r", r#"{"type":"StructureRunCompleted","payload":{"status":"SUCCEEDED"}}"#).await;
    let response = gateway.send(Method::GET, PATH, None).await;
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert!(!headers.contains_key("content-encoding") && headers.contains_key("x-request-id"));
    let text = response.text().await.unwrap();
    assert_eq!(data(&text), listed(&gateway, "r").await);
    let frames: Vec<_> = text.strip_suffix("\n\n: end\n").unwrap().split("\n\n").collect();
    assert_eq!(frames.len(), 3, "{text}");
    assert!(frames[0].starts_with("retry: 2000\nid: 1\ndata: {"), "{text}");
    assert!(frames[1].starts_with("id: 2\ndata: {") && frames[2].starts_with("id: 3\ndata: {"), "{text}");
    assert!(!text.contains('\r') && !text.contains("event:"), "{text}");
    assert_eq!(data(&text)[1]["payload"]["s"], "x\ny");
}

#[tokio::test]
async fn a_live_run_is_followed_to_its_end() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", r#"{"type":"StructureRunRunning"}"#).await;
    let mut response = gateway.send(Method::GET, PATH, None).await;
    let mut text = read_until(&mut response, "\"StructureRunRunning\"").await;
    posted(&gateway, "r", r#"[{"type":"a"},{"type":"b"}]"#).await;
    text.push_str(&read_until(&mut response, "\"b\"").await);
    posted(&gateway, "r", r#"{"type":"StructureRunCompleted"}"#).await;
    text.push_str(&response.text().await.unwrap());
    assert_eq!(data(&text), listed(&gateway, "r").await);
    assert_eq!(text.matches("retry:").count(), 1);
}

#[tokio::test]
async fn a_reader_resumes_after_the_last_event_that_it_saw() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", r#"[{"type":"a"},{"type":"b"},{"type":"StructureRunError"}]"#).await;
    let response = resumed(&gateway, "1").await;
    assert_eq!(response.status(), 200);
    assert_eq!(data(&response.text().await.unwrap()), listed(&gateway, "r").await[1..]);
    let at_the_end = resumed(&gateway, "3").await;
    assert_eq!((at_the_end.status().as_u16(), at_the_end.text().await.unwrap().len()), (204, 0));
    for (last_event_id, status) in [("4", 409), ("x", 422), ("-1", 422)] {
        let (answered, body) = crate::harness::json(resumed(&gateway, last_event_id).await).await;
        assert_eq!((answered, &body["errors"][0]["path"]), (status, &"Last-Event-ID".into()), "{last_event_id}");
    }
}

#[tokio::test]
async fn what_came_after_the_end_is_replayed_too() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", r#"[{"type":"StructureRunCompleted"},{"type":"late"}]"#).await;
    let (status, text) = gateway.stream(PATH).await;
    assert_eq!((status, data(&text).len()), (200, 2));
    let response = resumed(&gateway, "1").await;
    assert_eq!(data(&response.text().await.unwrap())[0]["type"], "late");
}

#[tokio::test]
async fn one_stream_more_than_allowed_gets_a_retry_after() {
    let gateway = Gateway::start_with(|options| options.reading.max_subscriptions = 1).await;
    posted(&gateway, "r", r#"{"type":"a"}"#).await;
    let mut first = gateway.send(Method::GET, PATH, None).await;
    read_until(&mut first, "data:").await;
    let second = gateway.send(Method::GET, PATH, None).await;
    assert_eq!((second.status().as_u16(), second.headers().contains_key("retry-after")), (429, true));
}
