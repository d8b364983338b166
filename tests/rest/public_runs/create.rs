//! POST /v1/runs.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{self, Gateway};

use super::{Run, text};

async fn create(gateway: &Gateway, key: &str, body: &str) -> (u16, Value) {
    let request = gateway.client.post(gateway.url("/v1/runs")).header("idempotency-key", key).body(body.to_owned());
    harness::json(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_run_begins_queued_with_run_created_that_holds_what_was_sent() {
    let gateway = Gateway::start().await;
    let body = r#"{"routing_hint":"eu","input":{ "big":12345678901234567890 },"metadata":null,"streaming":true,
        "attachment_refs":["a"],"sensitivity_tags":[]}"#;
    let response = gateway.send(Method::POST, "/v1/runs", Some(body)).await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let run = harness::json(response).await.1;
    assert_eq!(location, format!("/v1/runs/{}", text(&run["id"])));
    let created_at = text(&run["created_at"]);
    let expected = json!({
        "id": run["id"], "status": "queued", "created_at": created_at, "updated_at": created_at, "started_at": null,
        "completed_at": null, "last_seq": 1, "output": null, "error": null,
    });
    assert_eq!(run, expected);
    assert_eq!((created_at.len(), created_at.ends_with('Z')), ("2026-03-25T14:30:00.000Z".len(), true));
    assert_eq!(gateway.get(&location).await, (200, expected));

    let page = gateway.send(Method::GET, &format!("{location}/events?view=full"), None).await.text().await.unwrap();
    let payload = format!(
        r#""value":{{"request_id":"{request_id}","input":{{ "big":12345678901234567890 }},"metadata":null,"attachment_refs":["a"],"sensitivity_tags":[],"streaming":true,"routing_hint":"eu"}}"#
    );
    assert!(page.contains(&payload), "{page}\n{payload}");
    assert!(page.contains(r#""type":"run.created""#), "{page}");
}

#[tokio::test]
async fn a_run_may_have_an_id_of_the_callers_own_and_say_whose_it_is() {
    let gateway = Gateway::start().await;
    let body = r#"{"id":"mine","workspace_id":"w-1","subject_id":"u-1","routing":{"region":"eu"},"input":1}"#;
    let (status, run) = gateway.post("/v1/runs", body).await;
    assert_eq!((status, &run["id"], &run["status"]), (201, &json!("mine"), &json!("queued")));
    let (_, page) = gateway.get("/v1/runs/mine/events").await;
    let value = &page["events"][0]["payload"]["value"];
    assert_eq!((&value["workspace_id"], &value["subject_id"]), (&json!("w-1"), &json!("u-1")));
    assert_eq!((&value["routing"], value.get("id")), (&json!({"region": "eu"}), None));
    let (status, refusal) = gateway.post("/v1/runs", body).await;
    assert_eq!((status, &refusal["reason_code"]), (409, &json!("run_exists")));
    // A retry with the same key returns the same run.
    let keyed = r#"{"id":"keyed"}"#;
    assert_eq!(create(&gateway, "k", keyed).await.0, 201);
    assert_eq!(create(&gateway, "k", keyed).await.0, 200);
    assert_eq!(create(&gateway, "other", keyed).await.0, 409);
    for (body, field) in [
        (r#"{"id":""}"#, "id"),
        (r#"{"id":7}"#, "id"),
        (r#"{"workspace_id":7}"#, "workspace_id"),
        (&format!(r#"{{"subject_id":"{}"}}"#, "é".repeat(201)), "subject_id"),
        (r#"{"routing":"eu"}"#, "routing"),
    ] {
        let (status, refusal) = gateway.post("/v1/runs", body).await;
        assert!(status == 422 && text(&refusal["error"]).starts_with(field), "{body}: {refusal}");
    }
}

#[tokio::test]
async fn the_first_event_of_a_run_creates_it_unless_the_request_asks_for_one_that_is_there() {
    let gateway = Gateway::start().await;
    let publish = async |run: &str, if_match: Option<&str>| {
        let request = gateway.client.post(gateway.url(&format!("/v1/runs/{run}/events")));
        let request = if_match.iter().fold(request, |request, value| request.header("if-match", *value));
        let request = request.header("content-type", "application/json").body(r#"{"type":"run_start","payload":{}}"#);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(publish("new", None).await, 201);
    assert_eq!(gateway.get("/v1/runs/new").await.1["status"], json!("running"));
    assert_eq!((publish("none", Some("*")).await, publish("none", Some("1")).await), (404, 412));
    assert_eq!((publish("none", Some("0")).await, publish("none", Some("*")).await), (201, 201));
}

#[tokio::test]
async fn the_dependencies_of_the_server_are_listed_with_their_state() {
    let gateway = Gateway::start().await;
    let (status, health) = gateway.get("/health/deps").await;
    let store = &health["dependencies"][0];
    assert_eq!((status, &health["status"], &store["status"]), (200, &json!("ok"), &json!("ok")));
    assert_eq!((&store["name"], &store["kind"], &store["reason"]), (&json!("store"), &json!("sqlite"), &json!(null)));
    assert!(store["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{health}");
}

#[tokio::test]
async fn nothing_has_to_be_given() {
    let gateway = Gateway::start().await;
    for body in ["", "{}", " "] {
        assert_eq!(gateway.post("/v1/runs", body).await.0, 201, "{body:?}");
    }
    assert_eq!(gateway.get("/v1/runs").await.1["runs"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_same_key_answers_with_the_same_run() {
    let gateway = Gateway::start().await;
    let (status, first) = create(&gateway, "k", r#"{"input":{"a":1},"streaming":true}"#).await;
    assert_eq!(status, 201);
    let path = format!("/v1/runs/{}", text(&first["id"]));
    // The order of the members does not matter for a retry.
    assert_eq!(create(&gateway, "k", r#"{"streaming":true,"input":{"a":1}}"#).await, (200, first));
    gateway.post(&format!("{path}/cancel"), "").await;
    let (status, again) = create(&gateway, "k", r#"{"input":{"a":1},"streaming":true}"#).await;
    assert_eq!((status, &again["status"]), (200, &json!("cancelled")), "the run as it is now");
    let (status, other) = create(&gateway, "another", r#"{"input":{"a":1},"streaming":true}"#).await;
    assert_eq!(status, 201);
    assert_ne!(other["id"], again["id"]);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_a_conflict() {
    let gateway = Gateway::start().await;
    let (_, run) = create(&gateway, "k", r#"{"input":{"a":1}}"#).await;
    let (status, refusal) = create(&gateway, "k", r#"{"input":{"a":2}}"#).await;
    assert_eq!((status, &refusal["reason_code"]), (409, &json!("idempotency_conflict")), "{refusal}");
    assert!(text(&refusal["error"]).contains("Idempotency-Key"), "{refusal}");
    let run = Run { gateway, id: text(&run["id"]) };
    assert_eq!(run.types().await, ["run.created"]);
}

#[tokio::test]
async fn a_run_created_over_grpc_is_a_run_here() {
    let gateway = Gateway::start().await;
    let create = runlog::pb::CreateRunRequest { run_id: "r".into(), agent_name: "writer".into(), ..Default::default() };
    gateway.runs().await.create_run(create).await.unwrap();
    let (status, run) = gateway.get("/v1/runs/r").await;
    assert_eq!((status, &run["status"], &run["agent_name"]), (200, &json!("queued"), &json!("writer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tries_at_once_make_one_run() {
    let gateway = Gateway::start().await;
    let tries = futures_util::future::join_all((0..8).map(|_| create(&gateway, "k", r#"{"input":"x"}"#))).await;
    assert_eq!(tries.iter().filter(|(status, _)| *status == 201).count(), 1, "{tries:?}");
    assert!(tries.iter().all(|(status, run)| matches!(status, 200 | 201) && run["id"] == tries[0].1["id"]));
    assert_eq!(gateway.get("/v1/runs").await.1["runs"].as_array().unwrap().len(), 1);
}
