//! The live feed of a run.

use reqwest::Response;
use serde_json::{Value, json};

use super::{INGEST, event, ingest};
use crate::harness::Gateway;

const STREAM: &str = "/api/runs/r/events/stream";

/// Reads until this many events have come.
async fn frames(response: &mut Response, count: usize) -> String {
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().expect("the stream goes on")).unwrap());
    }
    text
}

/// The events of an EventSource client: ids with their events.
fn read(text: &str) -> Vec<(u64, Value)> {
    let of_frame = |frame: &str| {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        (field("id: ").parse().unwrap(), serde_json::from_str(field("data: ")).unwrap())
    };
    text.trim_end_matches(": end\n").split_terminator("\n\n").map(of_frame).collect()
}

async fn open(gateway: &Gateway, query: &str, last_event_id: Option<&str>) -> Response {
    let request = gateway.client.get(gateway.url(&format!("{STREAM}{query}")));
    match last_event_id {
        Some(id) => request.header("last-event-id", id).send().await.unwrap(),
        None => request.send().await.unwrap(),
    }
}

#[tokio::test]
async fn a_stream_replays_then_follows_and_closes_with_the_run() {
    let gateway = Gateway::start().await;
    ingest(&gateway, &event("run_start")).await;
    let mut stream = open(&gateway, "", None).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["cache-control"], "no-cache, no-transform");
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    let first = frames(&mut stream, 1).await;
    assert!(first.starts_with("retry: 2000\nid: 1\ndata: {\"event_type\":\"run_start\""), "{first}");
    ingest(&gateway, &event("step")).await;
    let second = frames(&mut stream, 1).await;
    assert!(second.starts_with("id: 2\ndata: "), "{second}");
    ingest(&gateway, &event("run_end")).await;
    let rest = stream.text().await.unwrap();
    assert_eq!(read(&rest).len(), 1, "{rest}");
    assert_eq!(read(&rest)[0].1["event_type"], "run_end");
}

#[tokio::test]
async fn a_stream_says_of_each_event_what_the_list_says() {
    let gateway = Gateway::start().await;
    for (i, name) in ["run_start", "step", "tool_call", "run_end"].into_iter().enumerate() {
        let mut event = event(name);
        event["agent_name"] = json!(format!("agent-{i}"));
        ingest(&gateway, &event).await;
    }
    let (_, text) = gateway.stream(STREAM).await;
    let streamed: Vec<_> = read(&text).into_iter().map(|(_, event)| event).collect();
    assert_eq!(json!(streamed), gateway.get("/api/runs/r/events").await.1["events"]);
}

#[tokio::test]
async fn a_reconnect_goes_on_after_the_last_event_with_the_same_filter() {
    let gateway = Gateway::start().await;
    for name in ["run_start", "step", "tool_call", "step"] {
        ingest(&gateway, &event(name)).await;
    }
    let mut stream = open(&gateway, "?types=step,run_*", None).await;
    assert_eq!(read(&frames(&mut stream, 2).await).iter().map(|(id, _)| *id).collect::<Vec<_>>()[..2], [1, 2]);
    drop(stream);
    for name in ["tool_call", "step", "run_end"] {
        ingest(&gateway, &event(name)).await;
    }
    let ids = |text: String| read(&text).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let resumed = open(&gateway, "?types=step,run_*", Some("2")).await;
    assert_eq!(ids(resumed.text().await.unwrap()), [4, 6, 7]);
    // The parameter wins over the header.
    let resumed = open(&gateway, "?types=step&types=run_*&cursor=4", Some("2")).await;
    assert_eq!(ids(resumed.text().await.unwrap()), [6, 7]);
}

#[tokio::test]
async fn a_finished_run_with_nothing_left_to_send_answers_204() {
    let gateway = Gateway::start().await;
    for name in ["run_start", "run_end"] {
        ingest(&gateway, &event(name)).await;
    }
    for (query, last_event_id) in
        [("", Some("2")), ("?cursor=2", None), ("?cursor=2", Some("0")), ("?types=none", None)]
    {
        let response = open(&gateway, query, last_event_id).await;
        assert_eq!(response.status(), 204, "{query}");
        assert_eq!(response.text().await.unwrap(), "");
    }
}

#[tokio::test]
async fn a_cursor_past_the_end_is_refused_with_the_end() {
    let gateway = Gateway::start().await;
    ingest(&gateway, &event("run_start")).await;
    for response in [open(&gateway, "?cursor=2", None).await, open(&gateway, "", Some("2")).await] {
        let (status, answer) = crate::harness::json(response).await;
        assert_eq!((status, &answer["error"]["code"]), (409, &json!("CURSOR_BEYOND_END")));
        assert_eq!(answer["error"]["details"]["end_cursor"], "1");
    }
}

#[tokio::test]
async fn a_payload_of_many_lines_becomes_one_data_line() {
    let gateway = Gateway::start().await;
    let body =
        "{\"event_type\":\"run_end\",\"sdk_run_id\":\"r\",\"payload\":{\r\n  \"a\": \"x\\ny\",\n\n  \"b\": [1,\r2]\n}}";
    assert_eq!(gateway.post(INGEST, body).await.0, 202);
    let (_, text) = gateway.stream(STREAM).await;
    assert_eq!(text.lines().filter(|line| line.starts_with("data: ")).count(), 1);
    assert!(!text.contains('\r') && text.matches("\n\n").count() == 1 && text.ends_with("}\n\n: end\n"), "{text}");
    assert_eq!(read(&text)[0].1["payload"], json!({ "a": "x\ny", "b": [1, 2] }));
}

#[tokio::test]
async fn a_silent_stream_says_so_in_comments() {
    let gateway =
        Gateway::start_with(|options| options.reading.sse_heartbeat = std::time::Duration::from_millis(1_000)).await;
    ingest(&gateway, &event("run_start")).await;
    let mut stream = open(&gateway, "?cursor=1", None).await;
    assert_eq!(stream.chunk().await.unwrap().unwrap(), ": hb\n");
    ingest(&gateway, &event("run_end")).await;
    let rest = stream.text().await.unwrap().replace(": hb\n", "");
    assert!(rest.starts_with("retry: 2000\nid: 2\n"), "{rest}");
}
