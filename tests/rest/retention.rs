//! Runs that have lost their first events, in all REST APIs: 410 for a cursor before what is kept, and a beginning without one.

use std::time::Duration;

use reqwest::Method;
use runlog::config::{KeepOptions, Rule};
use runlog::domain::retention::Keep;
use runlog::pb;
use serde_json::json;

use crate::harness::Gateway;

/// A server with a run of which the events 1 to 5 are removed and the event 6, the newest of all, is kept.
async fn shortened() -> Gateway {
    let gateway = Gateway::start_with(|options| {
        options.keeping = KeepOptions {
            retain_for: vec![Rule::of_all(Keep::For(Duration::from_millis(1)))],
            retain_interval: Duration::from_millis(100),
            ..options.keeping.clone()
        };
    })
    .await;
    for seq in 1..=6 {
        let event =
            if seq == 6 { json!({"type": "run_end", "payload": {}}) } else { json!({"type": "step", "payload": {}}) };
        assert_eq!(gateway.post("/v1/runs/r/events", &event.to_string()).await.0, 201);
    }
    while gateway.get("/v1/runs/r/events?cursor=4").await.0 != 410 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway
}

#[tokio::test]
async fn a_cursor_before_what_is_kept_is_410_in_every_api_and_the_beginning_is_not() {
    let gateway = shortened().await;
    for path in [
        "/v1/runs/r/events?cursor=1",
        "/v1/runs/r/events/stream?cursor=1",
        "/api/runs/r/events?cursor=1",
        "/api/runs/r/events/stream?cursor=1",
        "/api/structure-runs/r/events?offset=1&limit=10",
        "/api/structure-runs/r/events/stream?cursor=1",
        "/ag-ui/runs/r?cursor=1",
    ] {
        let (status, answer) = gateway.stream(path).await;
        assert!(status == 410 && answer.to_lowercase().contains("cursor_expired"), "{path}: {status} {answer}");
    }
    for (path, shown) in [
        ("/v1/runs/r/events", r#""seq":6"#),
        ("/v1/runs/r/events?order=desc", r#""seq":6"#),
        ("/v1/runs/r/events/stream", "id: 6"),
        ("/v1/runs/r/events/stream?cursor=0", "id: 6"),
        ("/api/runs/r/events", r#""seq":6"#),
        ("/api/structure-runs/r/events?offset=0&limit=10", r#""next_offset":6"#),
        ("/api/structure-runs/r/events/stream", "id: 6"),
        ("/ag-ui/runs/r", "RUN_FINISHED"),
        ("/ag-ui/runs/r?cursor=5", "RUN_FINISHED"),
    ] {
        let (status, answer) = gateway.stream(path).await;
        assert!(status == 200 && answer.contains(shown), "{path}: {status} {answer}");
    }
    let (status, older) = gateway.get("/v1/runs/r/events?order=desc&cursor=3").await;
    assert_eq!(
        (status, &older["events"], &older["has_more"]),
        (200, &json!([]), &json!(false)),
        "nothing older is kept"
    );
}

#[tokio::test]
async fn an_ag_ui_stream_of_a_shortened_run_begins_with_its_start() {
    let gateway = shortened().await;
    for path in ["/ag-ui/runs/r", "/ag-ui/runs/r?cursor=0", "/ag-ui/runs/r?cursor=5"] {
        let (_, stream) = gateway.stream(path).await;
        let first = stream.find("RUN_STARTED").unwrap_or_else(|| panic!("{stream}"));
        assert!(first < stream.find("RUN_FINISHED").unwrap(), "{stream}");
    }
}

/// A run with a step of three deltas that are compacted.
async fn compacted() -> Gateway {
    let gateway = Gateway::start_with(|options| {
        options.keeping.compact_deltas_after = Some(Duration::from_millis(1));
        options.keeping.retain_interval = Duration::from_millis(100);
    })
    .await;
    let delta = |text: &str| json!({"type": "step.progress", "payload": {"task_id": "t", "kind": "content_delta", "content_delta": text}});
    let bare = |event_type: &str| json!({"type": event_type, "payload": {}});
    let done = json!({"type": "step.done", "payload": {"task_id": "t", "content": "One two three"}});
    let events = json!([bare("run_start"), delta("One "), delta("two "), delta("three"), done, bare("run_end")]);
    assert_eq!(gateway.post("/v1/runs/r/events", &events.to_string()).await.0, 201);
    let is_compacted = async || gateway.get("/v1/runs/r/events").await.1["events"][1]["removal"] == "compacted";
    tokio::time::timeout(Duration::from_secs(30), async {
        while !is_compacted().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    gateway
}

#[tokio::test]
async fn a_joined_event_says_from_which_seq_in_every_api() {
    let gateway = compacted().await;
    for path in [
        "/v1/runs/r/events",
        "/v1/runs/r/events/stream?cursor=3",
        "/v1/events/stream",
        "/api/runs/r/events",
        "/api/structure-runs/r/events?offset=0&limit=10",
        "/ag-ui/runs/r",
    ] {
        let answer = if path == "/v1/events/stream" {
            let mut stream = gateway.send(Method::GET, path, None).await;
            let mut text = String::new();
            while !text.contains("joined_from") {
                text += std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap();
            }
            text
        } else {
            gateway.stream(path).await.1
        };
        assert_eq!(answer.matches(r#""joined_from":2"#).count(), 1, "{path}: {answer}");
        assert_eq!(answer.matches("joined_from").count(), 1, "{path}: {answer}");
    }
}

#[tokio::test]
async fn an_ag_ui_reader_of_a_compacted_step_gets_the_text_once_and_as_a_message_of_its_own_where_it_has_a_part() {
    let gateway = compacted().await;
    for (cursor, id) in [(0, "message-2"), (1, "message-2"), (2, "message-4"), (3, "message-4")] {
        let whole = [
            format!(r#"{{"type":"TEXT_MESSAGE_START","messageId":"{id}""#),
            format!(r#"{{"type":"TEXT_MESSAGE_CONTENT","messageId":"{id}","delta":"One two three""#),
            format!(r#"{{"type":"TEXT_MESSAGE_END","messageId":"{id}""#),
        ];
        let (_, stream) = gateway.stream(&format!("/ag-ui/runs/r?cursor={cursor}")).await;
        assert_eq!(stream.matches(r#""type":"TEXT_MESSAGE_"#).count(), whole.len(), "{stream}");
        for frame in whole {
            assert_eq!(stream.matches(&frame).count(), 1, "{cursor}: {stream}");
        }
    }
}

#[tokio::test]
async fn an_ag_ui_reader_that_has_all_deltas_of_a_compacted_step_goes_on_under_the_id_of_its_message() {
    let gateway = compacted().await;
    let (_, behind) = gateway.stream("/ag-ui/runs/r?cursor=4").await;
    for event_type in ["TEXT_MESSAGE_START", "TEXT_MESSAGE_END"] {
        let frame = format!(r#"{{"type":"{event_type}","messageId":"message-2""#);
        assert_eq!(behind.matches(&frame).count(), 1, "{behind}");
    }
    assert_eq!(behind.matches(r#""type":"TEXT_MESSAGE_"#).count(), 2, "{behind}");
}

#[tokio::test]
async fn an_erased_event_says_so_in_every_api() {
    let gateway = Gateway::start().await;
    let event = json!({"type": "note", "event_id": "e", "payload": {"secret": "s3cret"}}).to_string();
    assert_eq!(gateway.post("/v1/runs/r/events", &event).await.0, 201);
    assert_eq!(gateway.post("/v1/runs/r/events", &json!({"type": "run_end", "payload": {}}).to_string()).await.0, 201);
    let erase = pb::EraseEventsRequest { run_id: "r".to_owned(), first_seq: 1, last_seq: 1 };
    gateway.runs().await.erase_events(erase).await.unwrap();
    for path in [
        "/v1/runs/r/events?view=full",
        "/v1/runs/r/events/stream",
        "/api/runs/r/events",
        "/api/runs/r/events/stream",
        "/api/structure-runs/r/events?offset=0&limit=10",
        "/api/structure-runs/r/events/stream",
        "/api/events/e",
        "/ag-ui/runs/r",
    ] {
        let (status, answer) = gateway.stream(path).await;
        assert_eq!(status, 200, "{path}: {answer}");
        assert!(!answer.contains("s3cret"), "{path}: {answer}");
        assert!(answer.contains(r#""removal":"erased""#), "{path}: {answer}");
    }
}
