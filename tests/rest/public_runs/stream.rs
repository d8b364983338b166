//! GET /v1/runs/{id}/events/stream.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Run, numbered};

/// A run with two steps, then cancelled: seqs 1 to 4.
async fn ended() -> Run {
    let run = Run::with(numbered("step", 2)).await;
    assert_eq!(run.post("/cancel", "").await.0, 200);
    run
}

fn ids(stream: &str) -> Vec<&str> {
    stream.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
}

async fn resumed(run: &Run, rest: &str, last_event_id: &str) -> (u16, String) {
    let response = run.send(Method::GET, rest, ("last-event-id", last_event_id), "").await;
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn a_stream_delivers_the_whole_run_and_ends_with_it() {
    let run = ended().await;
    let response = run.send(Method::GET, "/events/stream", ("accept", "text/event-stream"), "").await;
    let headers = response.headers().clone();
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-cache, no-transform");
    assert_eq!(headers["x-accel-buffering"], "no");
    let stream = response.text().await.unwrap();
    let frames: Vec<_> = stream.strip_suffix("\n\n: end\n").unwrap().split("\n\n").collect();
    assert_eq!(frames.len(), 4, "{stream}");
    assert_eq!(stream.matches("retry:").count(), 1);
    let first = frames[0].strip_prefix("retry: 2000\n").unwrap();
    let listed = run.gateway.get(&run.path("/events")).await.1;
    for (index, frame) in [first].iter().chain(&frames[1..]).enumerate() {
        let (id, data) = frame.split_once('\n').unwrap();
        assert_eq!(id, format!("id: {}", index + 1));
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event, listed["events"][index], "a stream delivers the events of a list");
    }
}

#[tokio::test]
async fn a_reader_goes_on_where_it_stood() {
    let run = ended().await;
    assert_eq!(ids(&resumed(&run, "/events/stream", "2").await.1), ["3", "4"]);
    assert_eq!(ids(&run.gateway.stream(&run.path("/events/stream?cursor=3")).await.1), ["4"]);
    assert_eq!(ids(&resumed(&run, "/events/stream?cursor=1", "3").await.1), ["2", "3", "4"], "the parameter wins");
    assert_eq!(ids(&resumed(&run, "/events/stream?types=step", "2").await.1), ["3"], "with the same filter");
}

#[tokio::test]
async fn a_reader_at_the_end_of_a_finished_run_gets_204_and_does_not_reconnect() {
    let run = ended().await;
    assert_eq!(resumed(&run, "/events/stream", "4").await, (204, String::new()));
    assert_eq!(run.gateway.stream(&run.path("/events/stream?cursor=4")).await, (204, String::new()));
    assert_eq!(run.gateway.stream(&run.path("/events/stream?types=none")).await, (204, String::new()));
}

#[tokio::test]
async fn a_cursor_that_cannot_be_is_refused() {
    let run = ended().await;
    assert_eq!(resumed(&run, "/events/stream", "5").await.0, 409);
    assert_eq!(resumed(&run, "/events/stream", "x").await.0, 422);
    assert_eq!(run.get("/events/stream?cursor=5").await.0, 409);
    assert_eq!(run.get("/events/stream?cursor=f1-0").await.0, 422);
}

#[tokio::test]
async fn types_select_the_delivered_events() {
    let run = ended().await;
    let types = |query: &'static str| {
        let run = &run;
        async move { run.gateway.stream(&run.path(&format!("/events/stream?{query}"))).await.1 }
    };
    assert_eq!(ids(&types("types=step").await), ["2", "3"]);
    assert_eq!(ids(&types("types=run.*").await), ["1", "4"]);
    assert_eq!(ids(&types("types=step,run.cancelled").await), ["2", "3", "4"]);
    assert_eq!(ids(&types("types=step&types=run.created").await), ["1", "2", "3"]);
}

#[tokio::test]
async fn a_payload_of_many_lines_is_one_line() {
    let run = Run::create().await;
    let event = "{\"type\":\"x\",\"payload\":{\r\n \"a\":\n\"b\\nc\"}}";
    assert_eq!(run.post("/events", event).await.0, 201);
    run.post("/cancel", "").await;
    let (_, stream) = run.gateway.stream(&run.path("/events/stream?types=x")).await;
    assert!(!stream.contains('\r'));
    assert_eq!(stream.lines().count(), 5, "retry, id, data, blank, end: {stream}");
    let data = stream.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event["payload"]["value"], json!({"a": "b\nc"}));
}

#[tokio::test]
async fn new_events_are_delivered_live_to_every_reader_without_gap_or_duplicate() {
    let run = Run::create().await;
    let open = || run.gateway.client.get(run.gateway.url(&run.path("/events/stream"))).send();
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    for n in 0..20 {
        run.publish(json!({"type": "step", "payload": {"n": n}})).await;
    }
    run.post("/cancel", "").await;
    let expected: Vec<_> = (1..=22).map(|seq| seq.to_string()).collect();
    for stream in [one, other] {
        assert_eq!(ids(&stream.text().await.unwrap()), expected);
    }
}
