//! GET /ag-ui/runs/{id}: runs as AG-UI events.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Gateway;

/// A frame: its id, if it has one, and its event.
type Frame = (Option<u64>, Value);

fn frames(stream: &str) -> Vec<Frame> {
    let frame = |block: &str| {
        let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let event = serde_json::from_str(line("data: ")?).unwrap();
        Some((line("id: ").map(|id| id.parse().unwrap()), event))
    };
    stream.split("\n\n").filter_map(frame).collect()
}

fn types(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|(_, event)| event["type"].as_str().unwrap()).collect()
}

async fn publish(gateway: &Gateway, run: &str, events: &[(&str, Value)]) {
    let events: Vec<Value> =
        events.iter().map(|(event_type, payload)| json!({"type": event_type, "payload": payload})).collect();
    let (status, answer) = gateway.post(&format!("/v1/runs/{run}/events"), &json!(events).to_string()).await;
    assert_eq!(status, 201, "{answer}");
}

/// A run with a tool call in a step, which ends.
fn steps() -> Vec<(&'static str, Value)> {
    vec![
        ("run_start", json!({"framework": "f", "input": "SECRET"})),
        ("step", json!({"node_name": "search", "phase": "start"})),
        ("tool_call", json!({"tool_name": "web", "phase": "start", "input": {"q": 1, "token": "SECRET"}})),
        ("tool_call", json!({"tool_name": "web", "phase": "end", "output": "12 °C"})),
        ("step", json!({"node_name": "search", "phase": "end"})),
        ("note", json!({"a": "b\u{2028}c"})),
        ("run_end", json!({"output": "cloudy"})),
    ]
}

#[tokio::test]
async fn the_last_frame_of_each_event_has_its_seq_and_the_stored_event() {
    let gateway = Gateway::start().await;
    publish(&gateway, "r", &steps()).await;
    let response = gateway.send(Method::GET, "/ag-ui/runs/r", None).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache, no-transform");
    let stream = response.text().await.unwrap();
    assert!(stream.starts_with("retry: 2000\ndata: ") && stream.ends_with("}\n\n: end\n"), "{stream}");
    assert!(!stream.contains(['\u{2028}', '\r']) && stream.matches("retry:").count() == 1, "{stream}");
    let frames = frames(&stream);
    let ids: Vec<u64> = frames.iter().filter_map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(frames.last().unwrap().0, Some(7));
    let begin = json!({"type": "RUN_STARTED", "threadId": "r", "runId": "r", "protocolVersion": "1.0"});
    assert_eq!(frames[0], (None, begin));
    let listed = gateway.get("/v1/runs/r/events").await.1;
    for (id, event) in &frames {
        let Some(seq) = id else { continue };
        let stored = if event["type"] == "RAW" { &event["event"] } else { &event["rawEvent"] };
        assert_eq!(stored, &listed["events"][usize::try_from(*seq).unwrap() - 1], "{event}");
    }
    assert_eq!(
        types(&frames),
        [
            "RUN_STARTED",
            "STATE_SNAPSHOT",
            "RAW",
            "STEP_STARTED",
            "TOOL_CALL_START",
            "TOOL_CALL_ARGS",
            "TOOL_CALL_END",
            "TOOL_CALL_RESULT",
            "STEP_FINISHED",
            "RAW",
            "STATE_SNAPSHOT",
            "RUN_FINISHED"
        ]
    );
}

#[tokio::test]
async fn a_reader_goes_on_after_any_event_with_what_is_open_there_and_the_same_frames() {
    let gateway = Gateway::start().await;
    publish(&gateway, "r", &steps()).await;
    let whole = frames(&gateway.stream("/ag-ui/runs/r").await.1);
    for (cursor, open) in [(1, vec![]), (2, vec!["STEP_STARTED"]), (3, vec!["STEP_STARTED", "TOOL_CALL_START"])] {
        let (_, stream) = gateway.stream(&format!("/ag-ui/runs/r?cursor={cursor}")).await;
        let resumed = frames(&stream);
        let begin = 2 + open.len();
        assert_eq!(types(&resumed[..begin]), [vec!["RUN_STARTED", "STATE_SNAPSHOT"], open].concat(), "{cursor}");
        assert!(resumed[..begin].iter().all(|(id, _)| id.is_none()), "a cut in these frames loses nothing");
        let at = whole.iter().position(|(id, _)| *id == Some(cursor)).unwrap();
        assert_eq!(resumed[begin..], whole[at + 1..], "{cursor}");
        assert_eq!(gateway.stream(&format!("/ag-ui/runs/r?lastEventId={cursor}")).await.1, stream);
        let by_header = gateway.client.get(gateway.url("/ag-ui/runs/r")).header("last-event-id", cursor.to_string());
        assert_eq!(by_header.send().await.unwrap().text().await.unwrap(), stream);
    }
    assert_eq!(gateway.stream("/ag-ui/runs/r?cursor=7").await, (204, String::new()));
    for (path, status) in [
        ("/ag-ui/runs/r?cursor=8", 409),
        ("/ag-ui/runs/r?cursor=x", 422),
        ("/ag-ui/runs/r?types=step", 422),
        ("/ag-ui/runs/none", 404),
        ("/ag-ui/runs/none?cursor=1", 404),
        ("/ag-ui/runs/", 404),
    ] {
        let (answered, refusal) = gateway.get(path).await;
        assert!(answered == status && refusal["reason_code"].is_string(), "{path}: {answered} {refusal}");
    }
}

#[tokio::test]
async fn a_reader_in_the_middle_of_a_message_gets_its_start_and_the_rest_live() {
    let gateway = Gateway::start().await;
    let delta = |text: &str| ("step.progress", json!({"task_id": "t", "kind": "content_delta", "content_delta": text}));
    publish(&gateway, "r", &[("run_start", json!({})), delta("One ")]).await;
    let mut live = gateway.send(Method::GET, "/ag-ui/runs/r?cursor=2", None).await;
    let begin = String::from_utf8(live.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let opened = ["RUN_STARTED", "STATE_SNAPSHOT", "STEP_STARTED", "TEXT_MESSAGE_START"];
    assert_eq!(types(&frames(&begin)), opened, "before any event follows");
    publish(&gateway, "r", &[delta("two"), ("step.done", json!({"task_id": "t"})), ("run_end", json!({}))]).await;
    let rest = frames(&live.text().await.unwrap());
    let expected = ["TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "STEP_FINISHED", "STATE_SNAPSHOT", "RUN_FINISHED"];
    assert_eq!(types(&rest), expected);
    assert_eq!((&rest[0].1["delta"], &rest[0].1["messageId"]), (&json!("two"), &json!("message-2")));
    assert_eq!(rest.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [Some(3), None, Some(4), None, Some(5)]);
}

#[tokio::test]
async fn events_after_the_end_of_a_run_are_left_out_and_a_reader_behind_it_gets_the_end() {
    let gateway = Gateway::start().await;
    publish(&gateway, "r", &[("run_start", json!({})), ("error", json!({"error_message": "no"}))]).await;
    publish(&gateway, "r", &[("step", json!({"node_name": "late", "phase": "start"}))]).await;
    let whole = frames(&gateway.stream("/ag-ui/runs/r").await.1);
    assert_eq!(types(&whole), ["RUN_STARTED", "STATE_SNAPSHOT", "RAW", "STATE_SNAPSHOT", "RUN_ERROR"]);
    let behind = frames(&gateway.stream("/ag-ui/runs/r?cursor=2").await.1);
    assert_eq!(types(&behind), ["RUN_STARTED", "STATE_SNAPSHOT", "RUN_ERROR"]);
    assert_eq!((behind[2].0, &behind[2].1["message"]), (Some(3), &json!("no")), "the next connection is the last");
    assert_eq!(gateway.stream("/ag-ui/runs/r?cursor=3").await.0, 204);
}

#[tokio::test]
async fn a_stream_shows_payloads_in_the_view_of_the_reader() {
    let gateway = Gateway::start().await;
    publish(&gateway, "r", &steps()).await;
    let public = gateway.stream("/ag-ui/runs/r").await.1;
    assert!(!public.contains("SECRET") && public.contains("[REDACTED]"), "{public}");
    let full = frames(&gateway.stream("/ag-ui/runs/r?view=full").await.1);
    let arguments = full.iter().find(|(_, event)| event["type"] == "TOOL_CALL_ARGS").unwrap();
    assert_eq!(arguments.1["delta"], r#"{"q":1,"token":"SECRET"}"#);
    assert_eq!(full[2].1["event"]["payload"]["value"]["input"], "SECRET");
}

#[tokio::test]
async fn a_long_run_is_resumed_at_its_end_with_its_open_step_and_kept_alive_by_heartbeats() {
    let gateway = Gateway::start_with(|options| {
        options.reading.sse_heartbeat = std::time::Duration::from_secs(1);
    })
    .await;
    publish(&gateway, "r", &[("step", json!({"node_name": "long", "phase": "start"}))]).await;
    for _ in 0..5 {
        publish(&gateway, "r", &vec![("note", json!({"text": "x".repeat(500)})); 1_000]).await;
    }
    let mut live = gateway.send(Method::GET, "/ag-ui/runs/r?cursor=5001", None).await;
    let mut text = String::new();
    while !text.contains(": hb\n") {
        text.push_str(std::str::from_utf8(&live.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(types(&frames(&text)), ["RUN_STARTED", "STATE_SNAPSHOT", "STEP_STARTED"]);
    publish(&gateway, "r", &[("run_end", json!({}))]).await;
    let rest = live.text().await.unwrap();
    assert_eq!(types(&frames(&rest)), ["STATE_SNAPSHOT", "STEP_FINISHED", "RUN_FINISHED"]);
    let (_, whole) = gateway.stream("/ag-ui/runs/r").await;
    assert_eq!(frames(&whole).iter().filter(|(id, _)| id.is_some()).count(), 5_002);
}
