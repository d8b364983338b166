//! Ids of events made by the server: not available to producers, and still known after an upgrade.

use runlog::pb;
use serde_json::{Value, json};
use tonic::Code;
use xxhash_rust::xxh3::xxh3_128;

use crate::harness::{Gateway, json as answer};

/// The hash of an idempotency key in version 0.1.0.
fn hash(key: &str) -> String {
    format!("{:032x}", xxh3_128(key.as_bytes()))
}

async fn ingest(gateway: &Gateway, run: &str, event_type: &str, event_id: &str, payload: Value) -> (u16, Value) {
    let event = json!({"event_type": event_type, "sdk_run_id": run, "event_id": event_id, "payload": payload});
    gateway.post("/api/ingest", &event.to_string()).await
}

async fn keyed(gateway: &Gateway, path: &str, key: &str, body: &str) -> (u16, Value) {
    let request = gateway.client.post(gateway.url(path)).header("idempotency-key", key);
    answer(request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap()).await
}

#[tokio::test]
async fn producers_cannot_use_the_ids_of_the_server_in_any_rest_api_or_over_grpc() {
    let gateway = Gateway::start().await;
    for id in ["runlog:cancel", "runlog:", "runlog:control:0"] {
        for (path, body, field) in [
            ("/api/ingest", json!({"event_type": "a", "sdk_run_id": "r", "event_id": id}), "event_id"),
            (
                "/api/ingest",
                json!([{"event_type": "a", "sdk_run_id": "r"}, {"event_type": "a", "sdk_run_id": "s", "event_id": id}]),
                "[1].event_id",
            ),
            ("/v1/runs/r/events", json!([{"type": "a", "payload": 1, "event_id": id}]), "[0].event_id"),
        ] {
            let (status, refusal) = gateway.post(path, &body.to_string()).await;
            assert!(status == 422 && refusal.to_string().contains(field), "{path}: {refusal}");
            assert!(refusal.to_string().contains("must not begin with `runlog:`"), "{refusal}");
        }
        let (status, refusal) = keyed(&gateway, "/api/ingest", id, r#"{"event_type":"a","sdk_run_id":"r"}"#).await;
        assert_eq!((status, &refusal["error"]["details"]["field"]), (422, &json!("Idempotency-Key")));
        let event = pb::NewEvent { event_id: id.to_owned(), r#type: "a".to_owned(), ..Default::default() };
        let publish = pb::PublishRequest { run_id: "r".to_owned(), events: vec![event.clone()], ..Default::default() };
        let refusal = gateway.events().await.publish(publish).await.unwrap_err();
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert!(refusal.message().starts_with("events[0].event_id: must not begin"), "{refusal}");
        let create = pb::CreateRunRequest { first_event: Some(event), ..Default::default() };
        let refusal = gateway.runs().await.create_run(create).await.unwrap_err();
        assert!(refusal.message().starts_with("first_event.event_id: must not begin"), "{refusal}");
    }
    // An event with the id under which version 0.1.0 stored an answer with a key.
    let id = format!("control-{}", hash("k"));
    for event_type in ["run.resumed", "run.signal_applied", "run.input_received"] {
        let (status, refusal) = ingest(&gateway, "r", event_type, &id, json!({})).await;
        assert!(status == 422 && refusal.to_string().contains("32 hexadecimal digits"), "{refusal}");
    }
    assert_eq!(ingest(&gateway, "r", "note", &id, json!({})).await.0, 202);
    // No event of the refused array is stored: its second run does not exist.
    assert_eq!(gateway.get("/api/runs/s").await.0, 404);
}

#[tokio::test]
async fn no_event_of_a_producer_stands_in_the_way_of_a_cancellation() {
    let gateway = Gateway::start().await;
    for id in ["control-cancel", "cancel", "run.cancelled", "create-a-run", &format!("control-{}", hash("k"))] {
        assert_eq!(ingest(&gateway, "r", "note", id, json!({})).await.0, 202);
    }
    let (status, run) = gateway.post("/v1/runs/r/cancel", "").await;
    assert_eq!((status, &run["status"]), (200, &json!("cancelled")));
    assert_eq!(gateway.post("/v1/runs/r/cancel", "").await, (200, run), "once");
}

#[tokio::test]
async fn a_run_is_cancelled_though_an_event_from_elsewhere_has_the_id_of_its_cancellation() {
    let gateway = Gateway::start_on(&[("r", "note", "runlog:cancel", "{}")]).await;
    let (status, run) = gateway.post("/v1/runs/r/cancel", "").await;
    assert_eq!((status, &run["status"], &run["last_seq"]), (200, &json!("cancelled"), &json!(2)), "{run}");
    assert_eq!(gateway.post("/v1/runs/r/cancel", "").await, (200, run), "once");
}

#[tokio::test]
async fn what_a_caller_nests_without_end_is_refused_whatever_is_stored_under_its_key() {
    let old_id = format!("control-{}", hash("k"));
    let gateway = Gateway::start_on(&[
        ("r", "run.awaiting_input", "q", "{}"),
        ("r", "run.signal_applied", &old_id, r#"{"action":"approve","payload":1}"#),
    ])
    .await;
    let nested = format!(r#"{{"action":"approve","payload":{}1{}}}"#, "[".repeat(400_000), "]".repeat(400_000));
    for key in ["k", "another"] {
        let (status, refusal) = keyed(&gateway, "/v1/runs/r/signal", key, &nested).await;
        assert_eq!((status, &refusal["error"]), (422, &json!("payload: must nest at most 63 levels deep")));
    }
}

#[tokio::test]
async fn no_event_of_a_producer_stands_in_the_way_of_a_keyed_control() {
    let old_id = format!("control-{}", hash("k"));
    let gateway = Gateway::start_on(&[("r", "note", &old_id, r#"{"action":"approve"}"#)]).await;
    assert_eq!(ingest(&gateway, "r", "human_input_requested", "q", json!({})).await.0, 202);
    let (status, run) = keyed(&gateway, "/v1/runs/r/signal", "k", r#"{"action":"approve"}"#).await;
    assert_eq!((status, run.get("pending_input")), (200, None), "{run}");
    assert_eq!(keyed(&gateway, "/v1/runs/r/cancel", "k", "").await.0, 200);
}

#[tokio::test]
async fn what_a_key_did_before_the_upgrade_is_not_done_again() {
    // As version 0.1.0 stored them.
    let run = format!("run_{}", hash("order-17"));
    let created = json!({"request_id": format!("req_{}", hash("order-17")), "input": {"q": 1}}).to_string();
    let (create_id, control_id) = (format!("create-{}", hash("order-17")), format!("control-{}", hash("answer")));
    let gateway = Gateway::start_on(&[
        (&run, "run.created", &create_id, &created),
        (&run, "run.awaiting_input", "a", "{}"),
        (&run, "run.signal_applied", &control_id, r#"{"request_id":"req","action":"approve"}"#),
        (&run, "run.awaiting_input", "b", "{}"),
    ])
    .await;
    let (status, again) = keyed(&gateway, "/v1/runs", "order-17", r#"{"input":{"q":1}}"#).await;
    assert_eq!((status, &again["id"], &again["last_seq"]), (200, &json!(run), &json!(4)));
    let (status, refusal) = keyed(&gateway, "/v1/runs", "order-17", r#"{"input":{"q":2}}"#).await;
    assert_eq!((status, &refusal["reason_code"]), (409, &json!("idempotency_conflict")));

    let path = format!("/v1/runs/{run}/signal");
    let (status, shown) = keyed(&gateway, &path, "answer", r#"{"action":"approve"}"#).await;
    assert_eq!((status, &shown["pending_input_count"], &shown["last_seq"]), (200, &json!(1), &json!(4)), "not again");
    assert_eq!(keyed(&gateway, &path, "answer", r#"{"action":"reject"}"#).await.0, 409);
}
