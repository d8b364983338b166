//! Runs: created, listed, shown, cancelled.

use reqwest::Method;
use runlog::pb;
use serde_json::{Value, json};

use super::{listed, posted, published};
use crate::harness::{self, Gateway};

async fn created(gateway: &Gateway, structure: &str, key: Option<&str>, body: &str) -> (u16, Value) {
    let request = gateway.client.request(Method::POST, gateway.url(&format!("/api/structures/{structure}/runs")));
    let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
    let request = request.header("content-type", "application/json").body(body.to_owned());
    harness::json(request.send().await.unwrap()).await
}

#[tokio::test]
async fn a_run_is_created_with_its_first_event_and_its_secrets_are_not_stored() {
    let gateway = Gateway::start().await;
    let body = r#"{"args":["a"],"env_vars":[{"name":"X","value":"hush-1","source":"sEcReT"},
        {"name":"DB_PASSWORD","value":"hush-2"},{"name":"LEVEL","value":"3","source":"manual"}]}"#;
    let (status, run) = created(&gateway, "s", None, body).await;
    assert_eq!((status, &run["status"], &run["structure_id"]), (201, &"QUEUED".into(), &"s".into()));
    assert_eq!(run["args"], json!(["a"]));
    assert_eq!(run["env_vars"][0], json!({"name": "X", "value": "[REDACTED]", "source": "sEcReT"}));
    assert_eq!(run["env_vars"][1], json!({"name": "DB_PASSWORD", "value": "[REDACTED]"}));
    assert_eq!(run["env_vars"][2]["value"], "3");
    let id = run["structure_run_id"].as_str().unwrap();
    let events = listed(&gateway, id).await;
    assert_eq!((events.len(), &events[0]["type"], &events[0]["origin"]), (1, &"run.created".into(), &"SYSTEM".into()));
    assert_eq!(events[0]["payload"], json!({"args": run["args"], "env_vars": run["env_vars"]}));
    let request =
        pb::ListEventsRequest { scope: Some(pb::list_events_request::Scope::RunId(id.into())), ..Default::default() };
    let stored = gateway.events().await.list_events(request).await.unwrap().into_inner();
    assert!(!format!("{stored:?}").contains("hush"), "{stored:?}");
    let (status, shown) = gateway.get(&format!("/api/structure-runs/{id}")).await;
    assert_eq!((status, shown), (200, run));
}

#[tokio::test]
async fn a_key_creates_one_run_of_a_structure() {
    let gateway = Gateway::start().await;
    let (status, first) = created(&gateway, "s", Some("k"), r#"{"args":["a"]}"#).await;
    assert_eq!(status, 201);
    posted(&gateway, first["structure_run_id"].as_str().unwrap(), r#"{"type":"StructureRunRunning"}"#).await;
    let (status, again) = created(&gateway, "s", Some("k"), r#"{"args":["a"]}"#).await;
    assert_eq!((status, &again["status"]), (200, &"RUNNING".into()));
    assert_eq!(again["structure_run_id"], first["structure_run_id"]);
    let (status, other) = created(&gateway, "t", Some("k"), r#"{"args":["a"]}"#).await;
    assert_eq!(status, 201);
    assert_ne!(other["structure_run_id"], first["structure_run_id"]);
    let (status, refused) = created(&gateway, "s", Some("k"), r#"{"args":["b"]}"#).await;
    assert_eq!((status, &refused["errors"][0]["path"]), (409, &"Idempotency-Key".into()));
    let (status, refused) = created(&gateway, "s", Some(&"k".repeat(201)), "{}").await;
    assert_eq!((status, &refused["errors"][0]["path"]), (422, &"Idempotency-Key".into()));
    let (_, page) = gateway.get("/api/structures/s/runs").await;
    assert_eq!(page["pagination"]["total_count"], 1);
}

#[tokio::test]
async fn runs_are_listed_by_page_newest_first() {
    let gateway = Gateway::start().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let (_, run) = created(&gateway, "s", None, &json!({"args": [n.to_string()]}).to_string()).await;
        ids.insert(0, run["structure_run_id"].clone());
    }
    created(&gateway, "other", None, "null").await;
    let mut found = Vec::new();
    for page in 1..=3 {
        let (status, body) = gateway.get(&format!("/api/structures/s/runs?page={page}&page_size=2")).await;
        assert_eq!(status, 200);
        let pagination = &body["pagination"];
        assert_eq!((&pagination["total_count"], &pagination["total_pages"]), (&5.into(), &3.into()));
        assert_eq!(pagination.get("next_page"), (page < 3).then(|| json!(page + 1)).as_ref());
        assert_eq!(pagination.get("previous_page"), (page > 1).then(|| json!(page - 1)).as_ref());
        found.extend(body["structure_runs"].as_array().unwrap().iter().map(|run| run["structure_run_id"].clone()));
    }
    assert_eq!(found, ids);
    let (status, body) = gateway.get("/api/structures/s/runs?page=9223372036854775807&page_size=100").await;
    assert_eq!((status, &body["structure_runs"], &body["pagination"]["previous_page"]), (200, &json!([]), &1.into()));
}

#[tokio::test]
async fn every_status_has_a_name_here_and_the_filter_finds_it() {
    let gateway = Gateway::start().await;
    for (key, events, name) in [
        ("1", vec![], "QUEUED"),
        ("2", vec![("StructureRunStarting", "{}")], "STARTING"),
        ("3", vec![("StructureRunRunning", "{}")], "RUNNING"),
        ("4", vec![("run.awaiting_input", "{}")], "RUNNING"),
        ("5", vec![("run.worker.stalled", "{}")], "RUNNING"),
        ("6", vec![("run_end", r#"{"output":[1]}"#)], "SUCCEEDED"),
        ("7", vec![("StructureRunCompleted", r#"{"status":"FAILED"}"#)], "FAILED"),
        ("8", vec![("error", r#"{"message":"x"}"#)], "FAILED"),
        ("9", vec![("StructureRunError", r#"{"status_detail":{"error":"e"}}"#), ("run_end", "{}")], "ERROR"),
        ("10", vec![("run.cancelled", "{}")], "CANCELLED"),
    ] {
        let (_, run) = created(&gateway, "s", Some(key), "").await;
        let id = run["structure_run_id"].as_str().unwrap();
        if !events.is_empty() {
            published(&gateway, id, &events).await;
        }
        let (_, run) = gateway.get(&format!("/api/structure-runs/{id}")).await;
        assert_eq!(run["status"], name, "{events:?}");
        let (status, page) = gateway.get(&format!("/api/structures/s/runs?status={name}")).await;
        let found = page["structure_runs"].as_array().unwrap();
        assert!(status == 200 && found.iter().any(|found| found["structure_run_id"] == id), "{name}");
    }
    let (_, both) = gateway.get("/api/structures/s/runs?status=QUEUED&status=RUNNING").await;
    assert_eq!(both["pagination"]["total_count"], 4);
}

#[tokio::test]
async fn a_run_written_over_another_api_reads_well_here() {
    let gateway = Gateway::start().await;
    published(&gateway, "g", &[("custom", "[1]")]).await;
    let (_, run) = gateway.get("/api/structure-runs/g").await;
    assert_eq!((&run["status"], &run["structure_id"], &run["created_by"]), (&"QUEUED".into(), &"".into(), &"".into()));
    assert_eq!((&run["args"], &run["env_vars"], &run["output"]), (&json!([]), &json!([]), &Value::Null));
    assert_eq!((&run["started_at"], &run["completed_at"]), (&Value::Null, &Value::Null));
    let payload =
        r#"{"args":"no list","env_vars":[{"name":"TOKEN","value":"hush","note":1},{"name":"N"},7],"input":{"q":1}}"#;
    published(
        &gateway,
        "h",
        &[("run.created", payload), ("run_end", r#"{"output":{"b":1,"a":12345678901234567890}}"#)],
    )
    .await;
    let text = gateway.send(Method::GET, "/api/structure-runs/h", None).await.text().await.unwrap();
    assert!(text.contains(r#""output":{"b":1,"a":12345678901234567890}"#), "{text}");
    assert!(text.contains(r#""env_vars":[{"name":"TOKEN","value":"[REDACTED]"}]"#) && !text.contains("hush"), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["args"], json!([]));
}

#[tokio::test]
async fn cancelling_is_an_event_and_safe_to_repeat() {
    let gateway = Gateway::start().await;
    posted(&gateway, "r", r#"{"type":"StructureRunRunning"}"#).await;
    for _ in 0..2 {
        let (status, run) = gateway.post("/api/structure-runs/r/cancel", "{}").await;
        assert_eq!((status, &run["status"]), (200, &"CANCELLED".into()));
        assert!(run["completed_at"].is_string());
    }
    let events = listed(&gateway, "r").await;
    assert_eq!(
        (events.len(), &events[1]["type"], &events[1]["origin"]),
        (2, &"run.cancelled".into(), &"SYSTEM".into())
    );
    posted(&gateway, "done", r#"{"type":"StructureRunCompleted","payload":{"status":"SUCCEEDED"}}"#).await;
    let (status, refused) = gateway.post("/api/structure-runs/done/cancel", "").await;
    assert_eq!((status, &refused["errors"][0]["type"]), (409, &"control_refused".into()));
    assert_eq!(gateway.post("/api/structure-runs/none/cancel", "").await.0, 404);
    assert_eq!(listed(&gateway, "done").await.len(), 1);
}
