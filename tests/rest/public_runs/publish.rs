//! POST /v1/runs/{id}/events.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness;

use super::{Run, numbered, text};

#[tokio::test]
async fn one_event_or_many_are_numbered_and_named() {
    let run = Run::create().await;
    let published = run.publish(json!({"type": "a", "payload": null, "event_id": "mine"})).await;
    assert_eq!(published, json!({"events": [{"seq": 2, "event_id": "mine", "duplicate": false}]}));
    let published = run.publish(json!([{"type": "b", "payload": [1]}, {"type": "c", "payload": "x"}])).await;
    let seqs: Vec<_> = published["events"].as_array().unwrap().iter().map(|event| event["seq"].clone()).collect();
    assert_eq!(seqs, [3, 4]);
    let values: Vec<_> = run.events().await.into_iter().skip(1).map(|e| e["payload"]["value"].clone()).collect();
    assert_eq!(values, [Value::Null, json!([1]), json!("x")]);
}

#[tokio::test]
async fn an_event_sent_again_is_stored_once_and_another_under_its_id_is_refused() {
    let run = Run::create().await;
    let event =
        |n: u32, timestamp: &str| json!({"type": "a", "payload": {"n": n}, "event_id": "e", "timestamp": timestamp});
    run.publish(event(1, "2026-01-01T00:00:00Z")).await;
    let published = run.publish(event(1, "2026-01-01T00:00:09Z")).await;
    assert_eq!(published, json!({"events": [{"seq": 2, "event_id": "e", "duplicate": true}]}));
    let batch = json!([{"type": "b", "payload": 1}, event(2, "2026-01-01T00:00:00Z")]);
    let (status, refusal) = run.post("/events", &batch.to_string()).await;
    assert_eq!((status, &refusal["reason_code"]), (409, &json!("event_id_conflict")));
    assert_eq!(run.types().await, ["run.created", "a"]);
}

#[tokio::test]
async fn if_match_publishes_only_where_the_run_still_ends_there() {
    let run = Run::create().await;
    let event = r#"{"type":"a","payload":{},"event_id":"e"}"#;
    for stale in ["0", "2", "\"7\""] {
        let response = run.send(Method::POST, "/events", ("if-match", stale), event).await;
        let (status, refusal) = harness::json(response).await;
        assert_eq!((status, &refusal["reason_code"]), (412, &json!("seq_conflict")), "{stale}: {refusal}");
    }
    assert_eq!(run.types().await, ["run.created"]);
    assert_eq!(run.send(Method::POST, "/events", ("if-match", "\"1\""), event).await.status(), 201);
    let again = harness::json(run.send(Method::POST, "/events", ("if-match", "1"), event).await).await;
    assert_eq!(again, (201, json!({"events": [{"seq": 2, "event_id": "e", "duplicate": true}]})), "a retry is safe");
    assert_eq!(run.send(Method::POST, "/events", ("if-match", "*"), &numbered("b", 1).to_string()).await.status(), 201);
    let (status, refusal) = harness::json(run.send(Method::POST, "/events", ("if-match", "x"), event).await).await;
    assert_eq!(status, 422);
    assert!(text(&refusal["error"]).starts_with("If-Match: "), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_publishers_on_one_condition_one_wins() {
    let run = Run::create().await;
    let publish = |n: u32| {
        let body = json!({"type": "a", "payload": {"n": n}}).to_string();
        let run = &run;
        async move { run.send(Method::POST, "/events", ("if-match", "1"), &body).await.status().as_u16() }
    };
    let mut answers = futures_util::future::join_all((0..8).map(publish)).await;
    answers.sort_unstable();
    assert_eq!(answers, [201, 412, 412, 412, 412, 412, 412, 412]);
    assert_eq!(run.events().await.len(), 2);
}

#[tokio::test]
async fn tool_summaries_are_shown_within_their_bounds_and_say_so() {
    let highlight = |n: usize| json!({"key": format!("k{n}"), "value": n, "redacted": false});
    let summary = |preview: String, highlights: usize| {
        let highlights: Vec<_> = (0..highlights).map(highlight).collect();
        json!({"schema_version": "v1", "preview": preview, "highlights": highlights,
            "stats": {"fields_total": highlights.len()}, "truncated": false})
    };
    let payload = json!({"tool_name": "t", "tool_input_summary": summary("é".repeat(241), 11),
        "tool_output_summary": summary("é".repeat(240), 10)});
    let run = Run::with(json!({"type": "run.tool.invoked", "payload": payload})).await;
    let (_, page) = run.get("/events").await;
    let shown = &page["events"][1]["payload"];
    let (cut, redacted) = (&shown["value"]["tool_input_summary"], &shown["redacted"]);
    assert_eq!(redacted, &json!(true));
    assert_eq!(cut["preview"], json!("é".repeat(240)));
    assert_eq!(cut["highlights"].as_array().unwrap().len(), 10);
    assert_eq!((&cut["truncated"], &cut["stats"]["fields_total"]), (&json!(true), &json!(11)));
    assert_eq!(shown["value"]["tool_output_summary"], payload["tool_output_summary"], "what fits stays");
    assert_eq!(run.events().await[1]["payload"]["value"], payload, "nothing is lost");
}

#[tokio::test]
async fn the_events_make_the_run() {
    let run = Run::with(json!([
        {"type": "run.worker.started", "timestamp": "2026-03-25T14:30:01Z", "agent_name": "writer",
            "payload": {"from_status": "queued", "to_status": "running"}},
        {"type": "run_end", "timestamp": "2026-03-25T14:30:02.5Z",
            "payload": {"output": {"text": "done"}, "prompt_tokens": 3, "total_tokens": 5, "cost_usd": 0.25}},
    ]))
    .await;
    let (status, shown) = run.get("").await;
    assert_eq!((status, &shown["status"], &shown["last_seq"]), (200, &json!("succeeded"), &json!(3)));
    assert_eq!(shown["started_at"], json!("2026-03-25T14:30:01.000Z"));
    assert_eq!(shown["completed_at"], json!("2026-03-25T14:30:02.500Z"));
    assert_eq!((&shown["output"], &shown["error"]), (&json!({"text": "done"}), &Value::Null));
    assert_eq!(shown["agent_name"], json!("writer"));
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 5, "cost_usd": 0.25});
    assert_eq!(shown["usage"], usage);
}
