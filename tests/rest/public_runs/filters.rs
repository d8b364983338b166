//! GET /v1/runs by agent, structure, time and text, GET /v1/usage, and GET /v1/caller.

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
async fn runs_are_listed_by_the_time_of_their_creation_and_by_a_part_of_their_names() {
    let gateway = Gateway::start().await;
    for (run, agent) in [("One", "writer"), ("two", "reader"), ("three", "50% off")] {
        let event = json!({"type": "run_start", "payload": {}, "agent_name": agent}).to_string();
        assert_eq!(gateway.post(&format!("/v1/runs/{run}/events"), &event).await.0, 201);
    }
    assert_eq!(ids(&gateway.get("/v1/runs?text=ON").await.1), ["One"]);
    assert_eq!(ids(&gateway.get("/v1/runs?text=Ead").await.1), ["two"]);
    assert_eq!(ids(&gateway.get("/v1/runs?text=%25").await.1), ["three"]);
    assert_eq!(ids(&gateway.get("/v1/runs?text=t&agent=reader").await.1), ["two"]);
    let all = ["three", "two", "One"];
    assert_eq!(ids(&gateway.get("/v1/runs?from=2020-01-01").await.1), all);
    assert_eq!(ids(&gateway.get("/v1/runs?until=9000-01-01T00:00:00%2B02:00").await.1), all);
    assert!(ids(&gateway.get("/v1/runs?until=2020-01-01T00:00:00Z").await.1).is_empty());
    assert!(ids(&gateway.get("/v1/runs?from=9000-01-01").await.1).is_empty());
    let long = format!("text={}", "x".repeat(201));
    for (query, field) in
        [("from=soon", "from"), ("until=", "until"), ("text=", "text"), (&long, "text"), ("text=%0A", "text")]
    {
        let (status, body) = gateway.get(&format!("/v1/runs?{query}")).await;
        assert!(status == 422 && body["error"].as_str().unwrap().starts_with(field), "{query}: {body}");
    }
}

#[tokio::test]
async fn usage_is_summed_over_runs_by_agent_model_and_day() {
    let gateway = Gateway::start().await;
    for (run, agent, model, cost) in
        [("one", "writer", "large", 0.5), ("two", "reader", "small", 1.5), ("three", "writer", "", 0.25)]
    {
        let end =
            json!({"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12, "cost_usd": cost, "model": model});
        let event = json!({"type": "run_end", "payload": end, "agent_name": agent}).to_string();
        assert_eq!(gateway.post(&format!("/v1/runs/{run}/events"), &event).await.0, 201);
    }
    let totals = |runs: u64, cost: f64| {
        let (prompt, completion, total) = (10 * runs, 2 * runs, 12 * runs);
        json!({"runs": runs, "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, "cost_usd": cost})
    };
    let group = |key: &str, runs: u64, cost: f64| json!({"key": key, "totals": totals(runs, cost)});
    let expected = json!({"total": totals(3, 2.25), "groups": [], "complete": true});
    assert_eq!(gateway.get("/v1/usage").await, (200, expected));
    let by_agent = [group("reader", 1, 1.5), group("writer", 2, 0.75)];
    assert_eq!(gateway.get("/v1/usage?group_by=agent").await.1["groups"], json!(by_agent));
    let by_model = [group("small", 1, 1.5), group("large", 1, 0.5), group("", 1, 0.25)];
    assert_eq!(gateway.get("/v1/usage?group_by=model").await.1["groups"], json!(by_model));
    let (_, by_day) = gateway.get("/v1/usage?group_by=day").await;
    let day = by_day["groups"][0]["key"].as_str().unwrap();
    assert!(day.len() == 10 && day.starts_with("2"), "{by_day}");
    assert_eq!(gateway.get("/v1/usage?agent=writer&status=succeeded").await.1["total"], totals(2, 0.75));
    for none in ["structure=s", "status=failed", "until=2020-01-01", "from=9000-01-01"] {
        assert_eq!(gateway.get(&format!("/v1/usage?{none}")).await.1["total"]["runs"], 0, "{none}");
    }
    assert_eq!(gateway.get("/v1/usage?text=RITE").await.1["total"], totals(2, 0.75));
    for (query, field) in [
        ("group_by=week", "group_by"),
        ("from=x", "from"),
        ("status=x", "status"),
        ("text=", "text"),
        ("limit=1", "limit"),
    ] {
        let (status, body) = gateway.get(&format!("/v1/usage?{query}")).await;
        assert!(status == 422 && body["error"].as_str().unwrap().starts_with(field), "{query}: {body}");
    }
}

#[tokio::test]
async fn runs_are_counted_by_status_under_the_filters_of_their_list() {
    let gateway = Gateway::start().await;
    let counts = async |query: &str| {
        let (status, report) = gateway.get(&format!("/v1/usage?group_by=status{query}")).await;
        assert_eq!(status, 200, "{report}");
        let groups = report["groups"].as_array().unwrap().clone();
        let count =
            |group: &Value| (group["key"].as_str().unwrap().to_owned(), group["totals"]["runs"].as_u64().unwrap());
        groups.iter().map(count).collect::<Vec<_>>()
    };
    assert!(counts("").await.is_empty());
    for (run, agent, types) in [
        ("one", "writer", &["run_start"][..]),
        ("two", "writer", &["run_start", "run_end"]),
        ("three", "reader", &["run_start"]),
        ("four", "writer", &["no-status"]),
    ] {
        let events: Vec<_> =
            types.iter().map(|name| json!({"type": name, "payload": {"cost_usd": 0.5}, "agent_name": agent})).collect();
        assert_eq!(gateway.post(&format!("/v1/runs/{run}/events"), &json!(events).to_string()).await.0, 201);
    }
    let is = |counts: &[(&str, u64)]| counts.iter().map(|(key, runs)| ((*key).to_owned(), *runs)).collect::<Vec<_>>();
    assert_eq!(counts("").await, is(&[("succeeded", 1), ("running", 2), ("queued", 1)]));
    assert_eq!(gateway.post("/v1/runs", r#"{"id":"five"}"#).await.0, 201);
    // A run without any status event is listed as queued, and so counted.
    assert_eq!(counts("").await, is(&[("succeeded", 1), ("running", 2), ("queued", 2)]));
    assert_eq!(ids(&gateway.get("/v1/runs?status=queued").await.1), ["five", "four"]);
    assert_eq!(counts("&agent=writer&text=O").await, is(&[("succeeded", 1), ("running", 1), ("queued", 1)]));
    assert_eq!(counts("&status=running&agent=reader").await, is(&[("running", 1)]));
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
