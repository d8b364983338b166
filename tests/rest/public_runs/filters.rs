//! GET /v1/runs by agent and by structure, and GET /v1/caller.

use serde_json::{Value, json};

use crate::harness::Gateway;

fn ids(page: &Value) -> Vec<&str> {
    page["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn runs_are_listed_by_agent_by_structure_and_by_both_with_a_status() {
    let gateway = Gateway::start().await;
    for (run, agent) in [("one", "writer"), ("two", "reader"), ("three", "writer")] {
        let event = json!({"type": "run_start", "payload": {}, "agent_name": agent}).to_string();
        assert_eq!(gateway.post(&format!("/v1/runs/{run}/events"), &event).await.0, 201);
    }
    let (status, created) = gateway.post("/api/structures/weekly/runs", "{}").await;
    assert_eq!(status, 201, "{created}");
    let of_structure = created["structure_run_id"].as_str().unwrap();
    gateway.post("/v1/runs/three/cancel", "{}").await;
    assert_eq!(ids(&gateway.get("/v1/runs?agent=writer").await.1), ["three", "one"]);
    assert_eq!(ids(&gateway.get("/v1/runs?agent=writer&status=running").await.1), ["one"]);
    assert_eq!(ids(&gateway.get("/v1/runs?agent=writer&limit=1").await.1), ["three"]);
    assert!(ids(&gateway.get("/v1/runs?agent=nobody").await.1).is_empty());
    let (_, page) = gateway.get("/v1/runs?structure=weekly").await;
    assert_eq!(ids(&page), [of_structure]);
    assert_eq!(page["runs"][0]["structure_id"], "weekly");
    assert!(ids(&gateway.get("/v1/runs?structure=weekly&agent=writer").await.1).is_empty());
    for (query, field) in [("agent=", "agent"), ("structure=", "structure"), ("agent=a&agent=b", "agent")] {
        let (status, body) = gateway.get(&format!("/v1/runs?{query}")).await;
        assert!(status == 422 && body["error"].as_str().unwrap().starts_with(field), "{query}: {body}");
    }
}

#[tokio::test]
async fn a_caller_without_a_key_may_do_all_but_manage_keys_where_none_is_asked_for() {
    let gateway = Gateway::start().await;
    let expected = json!({
        "key_id": null,
        "expires_at": null,
        "project": "default",
        "scopes": ["events.publish", "events.publish_system", "events.read", "events.read_sensitive", "runs.write"]
    });
    assert_eq!(gateway.get("/v1/caller").await, (200, expected));
}
