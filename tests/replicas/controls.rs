//! Signals and cancellations that reach different replicas.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cluster::Database;
use crate::replica::Replica;

/// Posts to the public runs API; returns status and body.
async fn post(address: &str, path: &str, key: Option<&str>, body: Value) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(format!("http://{address}{path}")).body(body.to_string());
    request = request.header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

async fn publish(address: &str, event_type: &str, event_id: &str) -> u16 {
    let event = json!({"type": event_type, "event_id": event_id, "payload": {}});
    post(address, "/v1/runs/r/events", None, event).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_question_is_answered_once_and_a_run_cancelled_once_whichever_replica_is_asked() {
    let Some(database) = Database::create().await else { return };
    let replicas = [Replica::start(&database.url(), &[]).await, Replica::start(&database.url(), &[]).await];
    let at = |n: usize| replicas[n % 2].address().to_string();
    // Producers cannot use the server's ids; an event with an id of the old form is an ordinary event.
    assert_eq!(publish(&at(0), "note", "runlog:cancel").await, 422);
    assert_eq!(publish(&at(0), "note", "control-cancel").await, 201);
    for n in 0..3 {
        assert_eq!(publish(&at(n), "run.awaiting_input", &format!("question-{n}")).await, 201);
    }

    // Every answer is sent to both replicas under one key, beside other publishers.
    let mut answers = JoinSet::new();
    for n in 0..6 {
        let address = at(n);
        let key = format!("answer-{}", n / 2);
        let body = json!({"action": "approve", "payload": {"requested_seq": 2 + n / 2}});
        answers.spawn(async move { post(&address, "/v1/runs/r/signal", Some(&key), body).await });
        let address = at(n + 1);
        answers.spawn(async move { (publish(&address, "note", &format!("note-{n}")).await, Value::Null) });
    }
    for (status, body) in answers.join_all().await {
        assert!(matches!(status, 200 | 201), "{status} {body}");
    }
    let (status, refusal) = post(&at(1), "/v1/runs/r/signal", Some("late"), json!({"action": "approve"})).await;
    assert_eq!(status, 409, "no question is open: {refusal}");

    let mut cancels = JoinSet::new();
    for n in 0..4 {
        let address = at(n);
        cancels.spawn(async move { post(&address, "/v1/runs/r/cancel", None, json!({})).await });
    }
    for (status, run) in cancels.join_all().await {
        assert_eq!((status, &run["status"]), (200, &json!("cancelled")), "{run}");
    }
    let page = reqwest::get(format!("http://{}/v1/runs/r/events?limit=100", at(1))).await.unwrap();
    let page: Value = serde_json::from_str(&page.text().await.unwrap()).unwrap();
    let count = |event_type: &str| {
        page["events"].as_array().unwrap().iter().filter(|event| event["type"] == event_type).count()
    };
    assert_eq!((count("run.signal_applied"), count("run.cancelled"), count("note")), (3, 1, 7), "{page}");
}
