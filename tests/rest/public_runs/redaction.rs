//! Redaction in the public view.

use serde_json::{Value, json};

use super::{Run, text};

const SENT: &str = r#"{"type":"x","payload":{ "input" : {"p":1}, "keep":1.0 ,"metadata":null,"\u0061ttachment_refs":[],"sensitivity_tags":["pii"] }}"#;

async fn raw(run: &Run, rest: &str) -> String {
    run.gateway.client.get(run.gateway.url(&run.path(rest))).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn members_of_clients_are_left_out_and_the_rest_stays_as_sent() {
    let run = Run::create().await;
    assert_eq!(run.post("/events", SENT).await.0, 201);
    run.post("/cancel", "").await;
    for rest in ["/events?cursor=1", "/events/stream?cursor=1", "/events?view=public&cursor=1"] {
        let shown = raw(&run, rest).await;
        assert!(shown.contains(r#""payload":{"redacted":true,"value":{ "keep":1.0 }}"#), "{rest}: {shown}");
    }
}

#[tokio::test]
async fn the_full_view_leaves_nothing_out() {
    let run = Run::create().await;
    assert_eq!(run.post("/events", SENT).await.0, 201);
    run.post("/cancel", "").await;
    let sent = SENT.split_once(r#""payload":"#).unwrap().1.strip_suffix('}').unwrap();
    for rest in ["/events?view=full", "/events/stream?view=full"] {
        let shown = raw(&run, rest).await;
        assert!(shown.contains(&format!(r#""payload":{{"redacted":false,"value":{sent}}}"#)), "{rest}: {shown}");
    }
}

#[tokio::test]
async fn both_views_of_a_live_stream_are_distinguished() {
    let run = Run::create().await;
    let (public, full) = (run.path("/events/stream?cursor=1"), run.path("/events/stream?cursor=1&view=full"));
    let open = |path: String| run.gateway.client.get(run.gateway.url(&path)).send();
    let (public, full) = (open(public).await.unwrap(), open(full).await.unwrap());
    assert_eq!(run.post("/events", SENT).await.0, 201);
    run.post("/cancel", "").await;
    let (public, full) = (public.text().await.unwrap(), full.text().await.unwrap());
    assert!(public.contains(r#""redacted":true"#) && !public.contains("pii"), "{public}");
    assert!(!full.contains(r#""redacted":true"#) && full.contains("pii"), "{full}");
}

#[tokio::test]
async fn what_is_no_object_has_nothing_to_leave_out() {
    let values = [json!(["input"]), json!("input"), json!(1.5), json!(true), Value::Null, json!({"a": {"input": 1}})];
    let events: Vec<_> = values.iter().map(|value| json!({"type": "x", "payload": value})).collect();
    let run = Run::with(json!(events)).await;
    let (_, page) = run.get("/events?cursor=1").await;
    for (event, value) in page["events"].as_array().unwrap().iter().zip(&values) {
        assert_eq!(event["payload"], json!({"redacted": false, "value": value}));
    }
}

#[tokio::test]
async fn the_error_of_a_run_holds_no_members_of_clients() {
    let payload = json!({"to_status": "failed", "reason_code": "X", "input": {"secret": 1}, "metadata": {}});
    let run = Run::with(json!({"type": "run.worker.failed", "payload": payload})).await;
    let (_, shown) = run.get("").await;
    assert_eq!(shown["error"], json!({"to_status": "failed", "reason_code": "X"}));
    let (_, page) = run.gateway.get("/v1/runs").await;
    assert_eq!(page["runs"][0]["error"], shown["error"]);
    assert_eq!(text(&shown["status"]), "failed");
}
