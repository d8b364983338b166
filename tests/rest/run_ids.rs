//! A run id may be any text without control characters; every API accepts and returns such ids, percent-encoded in
//! paths.

use reqwest::Method;
use runlog::pb;
use serde_json::{Value, json};

use crate::harness::Gateway;

/// Ids that careless code might change or misinterpret.
fn ids() -> Vec<String> {
    let odd = [
        "a b",
        " around ",
        "a/b",
        "/",
        "a?b=c&d",
        "a#b",
        "100%",
        "%20",
        "a+b",
        "é",
        "e\u{301}",
        "שלום مرحبا",
        "\u{202e}reversed",
        "日本語",
        "a\u{2028}b",
        "\"quoted\" 'twice' \\ back",
        "a;b,c:d|e",
        "\u{feff}mark",
    ];
    odd.into_iter().map(ToOwned::to_owned).chain(["🦀".repeat(200)]).collect()
}

/// Encodes a path segment as clients do.
fn encoded(id: &str) -> String {
    id.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn publish(id: &str, event_type: &str) -> pb::PublishRequest {
    let payload = pb::Payload { variant: Some(pb::payload::Variant::Json("{}".into())), ..Default::default() };
    let event = pb::NewEvent { r#type: event_type.into(), payload: Some(payload), ..Default::default() };
    pb::PublishRequest { run_id: id.into(), events: vec![event], expected_last_seq: None }
}

#[tokio::test]
async fn a_run_of_any_id_is_written_over_each_api_and_read_over_all() {
    let gateway = Gateway::start().await;
    let (mut events, mut runs) = (gateway.events().await, gateway.runs().await);
    for id in ids() {
        let path = encoded(&id);
        events.publish(publish(&id, "by.grpc")).await.unwrap();
        let by_b = json!({"event_type": "by.b", "sdk_run_id": id, "payload": {}}).to_string();
        let answers = [
            gateway.post(&format!("/api/structure-runs/{path}/events"), r#"{"type":"by.a","payload":{}}"#).await,
            gateway.post("/api/ingest", &by_b).await,
            gateway.post(&format!("/v1/runs/{path}/events"), r#"{"type":"run_end","payload":{}}"#).await,
        ];
        assert!(answers.iter().all(|(status, _)| (200..300).contains(status)), "{id:?}: {answers:?}");
        let expected = ["by.grpc", "by.a", "by.b", "run_end"];
        for run_path in ["/api/structure-runs", "/api/runs", "/v1/runs"].map(|prefix| format!("{prefix}/{path}")) {
            let (status, run) = gateway.get(&run_path).await;
            assert_eq!(status, 200, "{id:?} {run_path}: {run}");
            assert!(run.to_string().contains(&Value::from(id.as_str()).to_string()), "{id:?}: {run}");
            let (status, page) = gateway.get(&format!("{run_path}/events")).await;
            let text = page.to_string();
            assert!(status == 200 && expected.iter().all(|kind| text.contains(kind)), "{id:?} {run_path}: {page}");
            let (status, stream) = gateway.stream(&format!("{run_path}/events/stream")).await;
            assert!(status == 200 && expected.iter().all(|kind| stream.contains(kind)), "{id:?} {run_path}: {stream}");
        }
        let run = runs.get_run(pb::GetRunRequest { run_id: id.clone() }).await.unwrap().into_inner().run.unwrap();
        assert_eq!((run.run_id.as_str(), run.last_seq), (id.as_str(), 4));
    }
    let request = pb::ListRunsRequest { page_size: 100, ..Default::default() };
    let listed = runs.list_runs(request).await.unwrap().into_inner().runs;
    let listed: Vec<_> = listed.into_iter().rev().map(|run| run.run_id).collect();
    assert_eq!(listed, ids());
}

#[tokio::test]
async fn the_location_of_a_run_of_any_id_leads_to_it() {
    let gateway = Gateway::start().await;
    for id in ids() {
        let body = json!({"id": id}).to_string();
        let created = gateway.send(Method::POST, "/v1/runs", Some(&body)).await;
        assert_eq!(created.status(), 201, "{id:?}");
        let location = created.headers()["location"].to_str().unwrap().to_owned();
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
        let (status, run) = gateway.get(&location).await;
        assert_eq!((status, &run["id"]), (200, &json!(id)), "{location}");
    }
}

#[tokio::test]
async fn a_structure_may_have_any_text_for_its_id() {
    let gateway = Gateway::start().await;
    for id in ids() {
        let (status, run) = gateway.post(&format!("/api/structures/{}/runs", encoded(&id)), "{}").await;
        assert_eq!(status, 201, "{id:?}: {run}");
        let (status, page) = gateway.get(&format!("/api/structures/{}/runs", encoded(&id))).await;
        assert_eq!(status, 200, "{id:?}: {page}");
        assert!(page.to_string().contains(&run["structure_run_id"].to_string()), "{id:?}: {page}");
    }
}
