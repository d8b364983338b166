//! Events: posted in three shapes, deduplicated, listed, found.

use reqwest::Method;
use serde_json::{Value, json};

use super::{listed, posted, published};
use crate::harness::Gateway;

#[tokio::test]
async fn one_an_array_and_a_named_array_are_stored_in_order() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", r#"{"type":"a","payload":{"n":1}}"#).await;
    posted(&gateway, "r", r#"[{"type":"b"},{"type":"c"}]"#).await;
    posted(&gateway, "r", r#"{"events":[{"type":"d"},{"type":"e","payload":null,"timestamp":null}]}"#).await;
    let events = listed(&gateway, "r").await;
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["a", "b", "c", "d", "e"]);
    for event in &events {
        assert_eq!((&event["structure_run"], &event["structure_run_id"]), (&"r".into(), &"r".into()));
        assert!(event["payload"].is_object() && event["timestamp"].is_f64(), "{event}");
        assert_eq!(event["origin"], "USER");
        assert_eq!(event.as_object().unwrap().len(), 8);
    }
}

#[tokio::test]
async fn a_payload_stays_as_it_was_sent() {
    let gateway = Gateway::start().await;
    let payloads = [
        r#"{"b" : 1,"a":12345678901234567890123, "b":2}"#,
        r#""text""#,
        "[1, 2.50]",
        "false",
        "1e999",
        r#"{"\u0000":"\ud800"}"#,
    ];
    for payload in payloads {
        posted(&gateway, "r", &format!(r#"{{"type":"t","payload": {payload} }}"#)).await;
    }
    published(&gateway, "r", &[("t", "null")]).await;
    let text = gateway.send(Method::GET, "/api/structure-runs/r/events", None).await.text().await.unwrap();
    let mut rest = text.as_str();
    for payload in payloads.iter().chain(&["{}"]) {
        let member = format!(r#""payload":{payload},"created_at""#);
        rest = rest.split_once(&member).unwrap_or_else(|| panic!("{payload} is not next in {rest}")).1;
    }
}

#[tokio::test]
async fn a_timestamp_comes_back_as_the_same_double() {
    let gateway = Gateway::start().await;
    let sent = [
        "1726096542.71688",
        "1726096548.683578",
        "1726096550.2512345",
        "1763630000.1234567",
        "1763630000.9999998",
        "1763629999.7168812",
        "1e9",
        "0",
        "-1.5",
        "4102444800.0000005",
    ];
    for timestamp in sent {
        posted(&gateway, "r", &format!(r#"{{"type":"t","timestamp":{timestamp}}}"#)).await;
    }
    let text = gateway.send(Method::GET, "/api/structure-runs/r/events", None).await.text().await.unwrap();
    let got = text.split(r#""timestamp":"#).skip(1).map(|rest| rest.split(',').next().unwrap());
    for (sent, got) in sent.into_iter().zip(got) {
        assert_eq!(got.parse::<f64>().unwrap().to_bits(), sent.parse::<f64>().unwrap().to_bits(), "{sent} {got}");
    }
}

#[tokio::test]
async fn a_framework_event_is_stored_once_and_other_content_is_never_lost() {
    let gateway = Gateway::start().await;
    let event = r#"{"type":"T","timestamp":1.5,"payload":{"id":"x","n":1}}"#;
    posted(&gateway, "r", event).await;
    posted(&gateway, "r", &event.replace("1.5", "2.5")).await;
    assert_eq!(listed(&gateway, "r").await.len(), 1);
    posted(&gateway, "r", &event.replace("\"n\":1", "\"n\":2")).await;
    posted(&gateway, "r", &event.replace("\"T\"", "\"U\"")).await;
    posted(&gateway, "other", event).await;
    assert_eq!((listed(&gateway, "r").await.len(), listed(&gateway, "other").await.len()), (3, 1));
    posted(&gateway, "r", &format!("[{event},{event}]")).await;
    assert_eq!(listed(&gateway, "r").await.len(), 3);
    posted(&gateway, "r", r#"{"type":"T","payload":{"id":7}}"#).await;
    posted(&gateway, "r", r#"{"type":"T","payload":{"id":7}}"#).await;
    assert_eq!(listed(&gateway, "r").await.len(), 5);
    let gateway = gateway.restart().await;
    posted(&gateway, "r", event).await;
    assert_eq!(listed(&gateway, "r").await.len(), 5);
}

/// A batch of the published driver, ten events at a time.
fn driver_batch(custom_at: f64) -> String {
    let mut batch: Vec<Value> = (0..9)
        .map(|n| {
            let at = 1_763_630_000.125 + f64::from(n);
            let payload = json!({"type": "TextChunkEvent", "id": format!("{n:032x}"), "timestamp": at, "meta": {},
                "token": "Hel", "index": n, "span_id": "00f067aa0ba902b7"});
            json!({"payload": payload, "timestamp": at, "type": "TextChunkEvent"})
        })
        .collect();
    batch.push(json!({"payload": {"note": "mine"}, "timestamp": custom_at, "type": "UserEvent"}));
    Value::Array(batch).to_string()
}

#[tokio::test]
async fn a_driver_that_retries_a_batch_repeats_only_what_has_no_id() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", &driver_batch(1_763_630_010.5)).await;
    posted(&gateway, "r", &driver_batch(1_763_630_011.5)).await;
    let events = listed(&gateway, "r").await;
    assert_eq!(events.len(), 11);
    assert_eq!((&events[9]["type"], &events[10]["timestamp"]), (&"UserEvent".into(), &1_763_630_011.5.into()));
    assert_eq!(events[0]["payload"]["span_id"], "00f067aa0ba902b7");
}

#[tokio::test]
async fn offsets_are_fed_back_until_and_after_the_end() {
    let gateway = Gateway::start().await;
    let batch: Vec<Value> = (0..5).map(|n| json!({"type": "t", "payload": {"n": n}})).collect();
    posted(&gateway, "r", &json!(batch).to_string()).await;
    let (mut offset, mut seen) = (0, Vec::new());
    for expected in [2, 2, 1, 0, 0] {
        let (status, page) = gateway.get(&format!("/api/structure-runs/r/events?offset={offset}&limit=2")).await;
        assert_eq!((status, &page["count"], &page["total_count"]), (200, &expected.into(), &5.into()));
        assert_eq!((&page["limit"], &page["offset"]), (&2.into(), &offset.into()));
        assert_eq!(page.as_object().unwrap().len(), 6);
        offset = page["next_offset"].as_u64().unwrap();
        seen.extend(page["events"].as_array().unwrap().iter().map(|event| event["payload"]["n"].as_u64().unwrap()));
    }
    assert_eq!((seen, offset), (vec![0, 1, 2, 3, 4], 5));
    posted(&gateway, "r", r#"{"type":"late"}"#).await;
    let (_, page) = gateway.get("/api/structure-runs/r/events?offset=5&limit=2").await;
    assert_eq!((&page["events"][0]["type"], &page["next_offset"]), (&"late".into(), &6.into()));
    let (status, page) = gateway.get("/api/structure-runs/r/events?offset=9223372036854775807").await;
    assert_eq!((status, &page["events"], &page["total_count"]), (200, &json!([]), &6.into()));
    assert_eq!(page["next_offset"], 9_223_372_036_854_775_807_u64);
    assert_eq!(page["limit"], 100);
}

#[tokio::test]
async fn an_event_is_found_by_an_id_of_the_producer_or_of_the_server() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", r#"[{"type":"a"},{"type":"b","payload":{"id":"x"}}]"#).await;
    for event in listed(&gateway, "r").await {
        let (status, found) = gateway.get(&format!("/api/events/{}", event["event_id"].as_str().unwrap())).await;
        assert_eq!((status, found), (200, event));
    }
    let (status, refused) = gateway.get("/api/events/nobodys%20%C3%A9").await;
    assert_eq!((status, &refused["errors"][0]["type"]), (404, &"event_not_found".into()));
}

#[tokio::test]
async fn lifecycle_types_and_all_types_of_the_platform_are_the_systems() {
    let gateway = Gateway::start().await;
    let types = ["StructureRunStarting", "StructureRunRunning", "run.note", "FinishStructureRunEvent"];
    let batch: Vec<Value> =
        types.iter().map(|name| json!({"type": name, "payload": {"output_task_output": {"value": "x"}}})).collect();
    posted(&gateway, "r", &json!(batch).to_string()).await;
    posted(&gateway, "r", r#"[{"type":"StructureRunCompleted"},{"type":"StructureRunError"}]"#).await;
    let events = listed(&gateway, "r").await;
    let origins: Vec<_> = events.iter().map(|event| event["origin"].as_str().unwrap()).collect();
    assert_eq!(origins, ["SYSTEM", "SYSTEM", "SYSTEM", "USER", "SYSTEM", "SYSTEM"]);
    let (_, run) = gateway.get("/api/structure-runs/r").await;
    assert_eq!((&run["status"], &run["output"]), (&"SUCCEEDED".into(), &json!({"value": "x"})));
    let recorded: jiff::Timestamp = events[3]["created_at"].as_str().unwrap().parse().unwrap();
    let output_at = run["output_timestamp"].as_f64().unwrap();
    assert!((output_at - recorded.as_microsecond() as f64 / 1e6).abs() < 1e-6, "{run}");
}

#[tokio::test]
async fn logs_are_the_last_thousand_events_a_line_each() {
    let gateway = Gateway::start().await;
    for part in 0..3 {
        let batch: Vec<Value> =
            (0..400).map(|n| json!({"type": "t", "payload": {"n": part * 400 + n, "x": "y".repeat(600)}})).collect();
        posted(&gateway, "r", &json!(batch).to_string()).await;
    }
    let (status, body) = gateway.get("/api/structure-runs/r/logs").await;
    let logs = body["logs"].as_array().unwrap();
    assert_eq!((status, logs.len()), (200, 1_000));
    let (first, last) = (logs[0].as_str().unwrap(), logs[999].as_str().unwrap());
    assert!(first.contains(r#" USER t {"n":200,"#) && last.contains(r#" USER t {"n":1199,"#), "{first} {last}");
    assert_eq!(first.split_once('{').unwrap().1.chars().count(), 499);
}
