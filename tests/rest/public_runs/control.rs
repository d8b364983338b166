//! Signals, cancel, resume: events and states.

use serde_json::{Value, json};

use super::{Run, text};

async fn last(run: &Run) -> Value {
    run.events().await.pop().unwrap()
}

/// The payload of the last event, without the id of its request.
async fn last_payload(run: &Run) -> Value {
    let mut value = last(run).await["payload"]["value"].take();
    assert!(text(&value["request_id"]).starts_with("req_"), "{value}");
    value.as_object_mut().unwrap().remove("request_id");
    value
}

#[tokio::test]
async fn a_question_is_shown_until_it_is_answered() {
    let run = Run::waiting().await;
    let (_, shown) = run.get("").await;
    assert_eq!(shown["status"], json!("awaiting_input"));
    let asked = json!({"requested_seq": 2, "reason_code": "AWAITING_APPROVAL", "input_kind": "approval"});
    assert_eq!(shown["pending_input"], asked);
    let (status, shown) = run.post("/signal", r#"{"action":"approve"}"#).await;
    assert_eq!((status, &shown["status"], &shown["last_seq"]), (200, &json!("awaiting_input"), &json!(3)));
    assert_eq!(shown.get("pending_input"), None);
    assert_eq!(run.get("").await, (200, shown));
    let (status, refusal) = run.post("/signal", r#"{"action":"approve"}"#).await;
    assert_eq!((status, &refusal["reason_code"]), (409, &json!("control_refused")));
    assert!(text(&refusal["error"]).contains("awaits no answer any more"), "{refusal}");
    let (status, shown) = run.post("/resume", "").await;
    assert_eq!((status, &shown["status"]), (200, &json!("running")));
    assert_eq!(last_payload(&run).await, json!({"from_status": "awaiting_input", "to_status": "running"}));
}

#[tokio::test]
async fn each_signal_is_the_documented_event_with_what_came_with_it() {
    for (action, event_type) in
        [("approve", "run.signal_applied"), ("reject", "run.signal_applied"), ("submit_input", "run.input_received")]
    {
        let run = Run::waiting().await;
        assert_eq!(run.post("/signal", &json!({"action": action}).to_string()).await.0, 200);
        assert_eq!(last(&run).await["type"], json!(event_type));
        assert_eq!(last_payload(&run).await, json!({"action": action, "requested_seq": 2}));

        let run = Run::waiting().await;
        let body = format!(r#"{{"payload":{{ "z":1,"a":12345678901234567890123}},"action":"{action}"}}"#);
        assert_eq!(run.post("/signal", &body).await.0, 200);
        let url = run.gateway.url(&run.path("/events?cursor=2"));
        let page = run.gateway.client.get(url).send().await.unwrap().text().await.unwrap();
        assert!(page.contains(r#","payload":{ "z":1,"a":12345678901234567890123}}"#), "as it was sent: {page}");
    }
}

#[tokio::test]
async fn a_payload_that_nests_too_deep_is_refused_by_name() {
    let run = Run::waiting().await;
    let body = format!(r#"{{"action":"approve","payload":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let (status, refusal) = run.post("/signal", &body).await;
    assert_eq!(status, 422);
    assert!(text(&refusal["error"]).starts_with("payload: must nest"), "{refusal}");
    assert_eq!(run.types().await.len(), 2);
}

#[tokio::test]
async fn cancel_ends_every_run_that_has_not_ended() {
    for (events, from) in [
        (json!([]), "queued"),
        (json!([{"type": "run.worker.started", "payload": {}}]), "running"),
        (json!([{"type": "run.worker.stalled", "payload": {}}]), "stalled"),
        (json!([{"type": "run.awaiting_input", "payload": {}}]), "awaiting_input"),
    ] {
        let run = Run::create().await;
        if events != json!([]) {
            run.publish(events).await;
        }
        let (status, shown) = run.post("/cancel", "").await;
        assert_eq!((status, &shown["status"]), (200, &json!("cancelled")), "{from}");
        assert!(shown["completed_at"].is_string() && shown.get("pending_input").is_none());
        assert_eq!(last_payload(&run).await, json!({"from_status": from, "to_status": "cancelled"}));
        let last_seq = shown["last_seq"].clone();
        let (status, shown) = run.post("/cancel", "{}").await;
        assert_eq!((status, &shown["last_seq"]), (200, &last_seq), "cancelled stays cancelled");
        assert_eq!(run.post("/resume", "").await.0, 409);
        assert_eq!(run.post("/signal", r#"{"action":"approve"}"#).await.0, 409);
    }
}

#[tokio::test]
async fn a_run_that_ended_otherwise_cannot_be_cancelled() {
    for event in ["run.worker.succeeded", "run.worker.failed", "run.limit_exceeded"] {
        let run = Run::with(json!({"type": event, "payload": {}})).await;
        for control in ["/cancel", "/resume"] {
            let (status, refusal) = run.post(control, "").await;
            assert_eq!((status, &refusal["reason_code"]), (409, &json!("control_refused")), "{event} {control}");
        }
        assert_eq!(run.types().await.len(), 2);
    }
}

#[tokio::test]
async fn a_stalled_run_is_queued_again_and_others_cannot_be_resumed() {
    let run = Run::create().await;
    assert_eq!(run.post("/resume", "").await.0, 409, "queued");
    run.publish(json!({"type": "run.worker.started", "payload": {}})).await;
    assert_eq!(run.post("/resume", "").await.0, 409, "running");
    run.publish(json!({"type": "run.worker.stalled", "payload": {}})).await;
    let (status, shown) = run.post("/resume", "").await;
    assert_eq!((status, &shown["status"]), (200, &json!("queued")));
    assert_eq!(last_payload(&run).await, json!({"from_status": "stalled", "to_status": "queued"}));
}
