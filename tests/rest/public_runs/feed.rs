//! GET /v1/events/stream: the events of all runs.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::server::in_time;

/// What a reader of the stream got.
struct Reader {
    response: Response,
    text: String,
}

impl Reader {
    async fn open(gateway: &Gateway, query: &str) -> Self {
        Self::with(gateway, query, &[]).await
    }

    async fn with(gateway: &Gateway, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = gateway.client.get(gateway.url(&format!("/v1/events/stream{query}")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = in_time(request.send()).await.unwrap();
        assert_eq!(response.status(), 200, "{query}");
        Self { response, text: String::new() }
    }

    /// Reads until the text has this many events.
    async fn events(&mut self, count: usize) -> Vec<Value> {
        while self.text.matches("\ndata: ").count() < count || !self.text.ends_with('\n') {
            self.more().await;
        }
        let data = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|json| serde_json::from_str(json).unwrap()).collect()
    }

    async fn more(&mut self) {
        let chunk = in_time(self.response.chunk()).await.unwrap().expect("the stream goes on");
        self.text.push_str(std::str::from_utf8(&chunk).unwrap());
    }

    /// The `id:` lines so far.
    fn ids(&self) -> Vec<String> {
        self.text.lines().filter_map(|line| line.strip_prefix("id: ")).map(ToOwned::to_owned).collect()
    }
}

async fn publish(gateway: &Gateway, run: &str, event_type: &str) {
    let event = json!({"type": event_type, "payload": {"of": run}, "agent_name": "a"}).to_string();
    assert_eq!(gateway.post(&format!("/v1/runs/{run}/events"), &event).await.0, 201);
}

/// Runs `a` and `b`, with three events each, in turns.
async fn two_runs() -> Gateway {
    let gateway = Gateway::start().await;
    for event_type in ["run_start", "step", "tool_call"] {
        for run in ["a", "b"] {
            publish(&gateway, run, event_type).await;
        }
    }
    gateway
}

fn places(events: &[Value]) -> Vec<(&str, u64)> {
    events.iter().map(|event| (event["run_id"].as_str().unwrap(), event["seq"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn all_runs_are_followed_in_commit_order_from_the_first_event_and_live() {
    let gateway = two_runs().await;
    let mut reader = Reader::open(&gateway, "").await;
    assert_eq!(reader.response.headers()["content-type"], "text/event-stream");
    reader.events(6).await;
    publish(&gateway, "c", "run_start").await;
    publish(&gateway, "a", "run_end").await;
    let events = reader.events(8).await;
    assert_eq!(
        places(&events),
        [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3), ("c", 1), ("a", 4)],
        "the end of a run does not end the stream"
    );
    assert_eq!(reader.text.matches("retry:").count(), 1);
    let mut first = events[0].clone();
    assert!(first.as_object_mut().unwrap().remove("timestamp").unwrap().as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "run_id": "a", "seq": 1, "type": "run_start", "origin": "user", "agent_name": "a",
        "payload": {"redacted": false, "value": {"of": "a"}}
    });
    assert_eq!(first, expected);
}

#[tokio::test]
async fn each_id_is_the_cursor_after_its_event_in_the_query_and_in_the_header() {
    let gateway = two_runs().await;
    let mut all = Reader::open(&gateway, "").await;
    let events = all.events(6).await;
    // The first id is the position at which the stream begins.
    let ids = all.ids();
    let ids = &ids[ids.len() - 6..];
    for (index, id) in ids.iter().enumerate().take(5) {
        let rest = 5 - index;
        for query in [
            format!("?cursor={id}"),
            format!("?lastEventId={id}&cursor={}", ids[0]),
            format!("?cursor={id}&latest=true"),
        ] {
            assert_eq!(Reader::open(&gateway, &query).await.events(rest).await, events[index + 1..], "{query}");
        }
        let header = [("last-event-id", id.as_str())];
        assert_eq!(Reader::with(&gateway, "", &header).await.events(rest).await, events[index + 1..]);
        let mut late = Reader::with(&gateway, "?latest=true", &header).await;
        assert_eq!(late.events(rest).await, events[index + 1..], "a reconnect repeats its URL");
        let mut second = Reader::with(&gateway, &format!("?cursor={}", ids[4]), &header).await;
        assert_eq!(second.events(1).await, events[5..], "the parameter wins");
    }
}

#[tokio::test]
async fn a_reader_of_the_latest_has_its_position_before_the_first_event() {
    let gateway = two_runs().await;
    let mut reader = Reader::open(&gateway, "?latest=true").await;
    reader.more().await;
    assert!(reader.text.starts_with(": hb\nid: f"), "{}", reader.text);
    let position = reader.ids().remove(0);
    drop(reader);
    publish(&gateway, "b", "run_end").await;
    let mut again = Reader::open(&gateway, &format!("?cursor={position}")).await;
    assert_eq!(places(&again.events(1).await), [("b", 4)]);
}

#[tokio::test]
async fn types_and_origins_select_events_and_heartbeats_say_how_far_the_stream_has_looked() {
    let gateway =
        Gateway::start_with(|options| options.reading.sse_heartbeat = std::time::Duration::from_secs(1)).await;
    publish(&gateway, "a", "run_start").await;
    publish(&gateway, "a", "run.created").await;
    publish(&gateway, "b", "step").await;
    for (query, expected) in [
        ("?types=run*", vec![("a", 1), ("a", 2)]),
        ("?types=step&types=run_start", vec![("a", 1), ("b", 1)]),
        ("?origin=system", vec![("a", 2)]),
        ("?origin=user&origin=user", vec![("a", 1), ("b", 1)]),
        ("?origin=user&origin=system", vec![("a", 1), ("a", 2), ("b", 1)]),
        ("?origin=user&types=run*", vec![("a", 1)]),
        ("?run=b", vec![("b", 1)]),
        ("?run=a&run=b&types=step", vec![("b", 1)]),
        ("?agent=a&run=a", vec![("a", 1), ("a", 2)]),
        ("?agent=nobody&agent=a&types=step", vec![("b", 1)]),
    ] {
        let mut reader = Reader::open(&gateway, query).await;
        assert_eq!(places(&reader.events(expected.len()).await), expected, "{query}");
    }
    let mut filtered = Reader::open(&gateway, "?types=run_start").await;
    filtered.events(1).await;
    while !filtered.text.ends_with(": hb\n") && filtered.ids().len() < 3 {
        filtered.more().await;
    }
    let position = filtered.ids().pop().unwrap();
    let mut rest = Reader::open(&gateway, &format!("?cursor={position}")).await;
    publish(&gateway, "c", "run_start").await;
    assert_eq!(places(&rest.events(1).await), [("c", 1)], "what the filter held back is behind the cursor");
}

#[tokio::test]
async fn the_views_of_the_stream_are_those_of_a_run() {
    let gateway = Gateway::start().await;
    let event = r#"{"type":"run.created","payload":{"input":"mine","kept":1}}"#;
    assert_eq!(gateway.post("/v1/runs/r/events", event).await.0, 201);
    for view in ["public", "full"] {
        let listed = gateway.get(&format!("/v1/runs/r/events?view={view}")).await.1;
        let mut reader = Reader::open(&gateway, &format!("?view={view}")).await;
        assert_eq!(reader.events(1).await[0]["payload"], listed["events"][0]["payload"], "{view}");
    }
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_by_the_name_of_its_parameter() {
    let gateway = two_runs().await;
    for (query, status, words) in [
        ("?cursor=12", 422, "cursor"),
        ("?cursor=f1-0", 422, "cursor"),
        ("?lastEventId=x", 422, "cursor"),
        ("?latest=1", 422, "latest"),
        ("?origin=platform", 422, "origin"),
        ("?types=a*b", 422, "types[0]"),
        ("?view=all", 422, "view"),
        ("?runs=a", 422, "runs"),
        ("?run=", 422, "run"),
        ("?agent=a%00", 422, "agent"),
        (&format!("?{}", "run=a&".repeat(101)), 422, "run"),
    ] {
        let (answered, body) = gateway.get(&format!("/v1/events/stream{query}")).await;
        assert_eq!(answered, status, "{query}: {body}");
        assert!(body["error"].as_str().unwrap().contains(words), "{query}: {body}");
    }
    let request = gateway.client.get(gateway.url("/v1/events/stream")).header("last-event-id", "12");
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("Last-Event-ID"));
    let mut reader = Reader::open(&gateway, "").await;
    reader.events(6).await;
    let beyond = reader.ids().pop().unwrap().replace("0000000000000006", "0000000000000007");
    assert_eq!(gateway.get(&format!("/v1/events/stream?cursor={beyond}")).await.0, 409);
    assert_eq!(gateway.send(Method::POST, "/v1/events/stream", Some("{}")).await.status(), 405);
}
