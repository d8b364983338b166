//! Listing events and runs.

use serde_json::{Value, json};

use crate::harness::Gateway;

use super::{Run, numbered, text};

fn seqs(page: &Value) -> Vec<u64> {
    page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect()
}

/// Follows `next_cursor` to the end; the sizes of the pages and all seqs.
async fn pages(run: &Run, query: &str) -> (Vec<usize>, Vec<u64>) {
    let (mut sizes, mut all, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let (status, page) = run.get(&format!("/events?{query}&cursor={cursor}")).await;
        assert_eq!(status, 200, "{page}");
        sizes.push(seqs(&page).len());
        all.extend(seqs(&page));
        if page["has_more"] == json!(false) {
            return (sizes, all);
        }
        cursor = text(&page["next_cursor"]);
    }
}

#[tokio::test]
async fn pages_follow_each_other_in_both_directions() {
    let run = Run::with(numbered("a", 9)).await;
    let up: Vec<_> = (1..=10).collect();
    let down: Vec<_> = (1..=10).rev().collect();
    assert_eq!(pages(&run, "limit=4&order=asc").await, (vec![4, 4, 2], up.clone()));
    assert_eq!(pages(&run, "limit=4&order=desc").await, (vec![4, 4, 2], down));
    assert_eq!(pages(&run, "limit=1").await.1, up);
}

#[tokio::test]
async fn a_page_has_fifty_events_where_nothing_is_said() {
    let run = Run::with(numbered("a", 60)).await;
    let (_, page) = run.get("/events").await;
    assert_eq!(seqs(&page), (1..=50).collect::<Vec<_>>());
    assert_eq!((&page["next_cursor"], &page["has_more"]), (&json!("50"), &json!(true)));
    let (_, page) = run.get("/events?after_seq=50").await;
    assert_eq!(seqs(&page), (51..=61).collect::<Vec<_>>());
    assert_eq!((&page["next_cursor"], &page["has_more"]), (&json!("61"), &json!(false)));
    let (status, page) = run.get("/events?cursor=61").await;
    assert_eq!((status, page), (200, json!({"events": [], "next_cursor": "61", "has_more": false})), "a poll");
}

#[tokio::test]
async fn types_select_one_by_one_by_comma_and_by_beginning() {
    let types = ["step.progress", "step.done", "x", "step.progress"];
    let run = Run::with(types.iter().map(|name| json!({"type": name, "payload": {}})).collect()).await;
    for (query, expected) in [
        ("types=x", vec![4]),
        ("types=x&types=step.done", vec![3, 4]),
        ("types=x,step.done", vec![3, 4]),
        ("types=step.*", vec![2, 3, 5]),
        ("types=nothing", vec![]),
        ("types=step.progress&order=desc", vec![5, 2]),
    ] {
        assert_eq!(pages(&run, query).await.1, expected, "{query}");
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_is_refused_by_kind() {
    let run = Run::create().await;
    for (query, status, reason) in [
        ("cursor=2", 409, "cursor_beyond_end"),
        ("cursor=2&order=desc", 409, "cursor_beyond_end"),
        ("cursor=x", 422, "cursor_invalid"),
        ("cursor=-1", 422, "cursor_invalid"),
        ("after_seq=01", 422, "cursor_invalid"),
        ("cursor=1&after_seq=1", 422, "invalid_field"),
    ] {
        let (got, refusal) = run.get(&format!("/events?{query}")).await;
        assert_eq!((got, &refusal["reason_code"]), (status, &json!(reason)), "{query}: {refusal}");
    }
}

#[tokio::test]
async fn runs_are_listed_newest_first_by_status_and_page() {
    let gateway = Gateway::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(text(&gateway.post("/v1/runs", "{}").await.1["id"]));
    }
    ids.reverse();
    gateway.post(&format!("/v1/runs/{}/cancel", ids[1]), "").await;
    let listed =
        |page: &Value| -> Vec<String> { page["runs"].as_array().unwrap().iter().map(|run| text(&run["id"])).collect() };
    let (status, page) = gateway.get("/v1/runs").await;
    assert_eq!((status, listed(&page)), (200, ids.clone()));
    assert_eq!((&page["next_cursor"], &page["has_more"]), (&Value::Null, &json!(false)));
    assert_eq!(listed(&gateway.get("/v1/runs?status=cancelled").await.1), [ids[1].clone()]);
    assert_eq!(listed(&gateway.get("/v1/runs?status=cancelled&status=queued").await.1), ids);
    let (_, page) = gateway.get("/v1/runs?limit=2").await;
    assert_eq!((listed(&page), &page["has_more"]), (ids[..2].to_vec(), &json!(true)));
    let (_, page) = gateway.get(&format!("/v1/runs?limit=3&cursor={}", text(&page["next_cursor"]))).await;
    assert_eq!((listed(&page), &page["has_more"]), (ids[2..].to_vec(), &json!(false)));
}

#[tokio::test]
async fn a_run_that_says_nothing_of_its_status_is_queued() {
    let gateway = Gateway::start().await;
    let event = runlog::pb::NewEvent { r#type: "step.progress".into(), ..Default::default() };
    let publish = runlog::pb::PublishRequest { run_id: "r/1".into(), events: vec![event], ..Default::default() };
    gateway.events().await.publish(publish).await.unwrap();
    let (status, run) = gateway.get("/v1/runs/r%2F1").await;
    assert_eq!((status, &run["id"], &run["status"]), (200, &json!("r/1"), &json!("queued")));
    assert_eq!(gateway.get("/v1/runs?status=queued").await.1["runs"], json!([run]));
}
