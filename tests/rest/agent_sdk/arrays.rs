//! Arrays of events: checked as a whole, stored by run.

use runlog::pb;
use serde_json::{Value, json};

use super::{INGEST, event, ingest};
use crate::harness::{Gateway, json as read};

#[tokio::test]
async fn an_array_for_several_runs_is_answered_in_its_order() {
    let gateway = Gateway::start().await;
    let events: Vec<_> =
        (0..90).map(|i| json!({ "event_type": "step", "sdk_run_id": format!("r{}", i % 7) })).collect();
    let (status, answers) = gateway.post(INGEST, &Value::from(events).to_string()).await;
    assert_eq!(status, 202);
    for (i, answer) in answers.as_array().unwrap().iter().enumerate() {
        assert_eq!((&answer["sdk_run_id"], &answer["seq"]), (&json!(format!("r{}", i % 7)), &json!(i / 7 + 1)));
    }
    assert_eq!(answers.as_array().unwrap().len(), 90);
}

#[tokio::test]
async fn the_runs_of_an_array_are_stored_in_its_order_whatever_their_size() {
    let gateway = Gateway::start().await;
    let large = "x".repeat(300_000);
    for round in 0..10 {
        let element = |n: usize| {
            let payload = if n.is_multiple_of(2) { json!({ "text": large }) } else { json!({}) };
            json!({ "event_type": "step", "sdk_run_id": format!("{round}-{n}"), "payload": payload })
        };
        let events: Vec<_> = (0..6).map(element).collect();
        assert_eq!(gateway.post(INGEST, &Value::from(events).to_string()).await.0, 202);
    }
    let all_runs = Some(pb::list_events_request::Scope::AllRuns(pb::AllRuns::default()));
    let mut request = pb::ListEventsRequest { scope: all_runs, ..Default::default() };
    let (mut client, mut stored) = (gateway.events().await, Vec::new());
    loop {
        let page = client.list_events(request.clone()).await.unwrap().into_inner();
        stored.extend(page.events.into_iter().map(|event| event.run_id));
        if !page.has_more {
            break;
        }
        request.cursor = page.next_cursor;
    }
    let expected: Vec<String> = (0..10).flat_map(|round| (0..6).map(move |n| format!("{round}-{n}"))).collect();
    assert_eq!(stored, expected);
}

#[tokio::test]
async fn a_refused_element_is_named_and_nothing_of_the_array_is_stored() {
    let gateway = Gateway::start().await;
    for (bad, field) in [
        (json!(1), "[1]"),
        (json!({ "sdk_run_id": "r" }), "[1].event_type"),
        (json!({ "event_type": "a", "sdk_run_id": "r", "payload": [] }), "[1].payload"),
        (json!({ "event_type": "a", "sdk_run_id": "r", "more": 1 }), "[1].more"),
        (json!({ "event_type": "a", "sdk_run_id": "r", "occurred_at": "today" }), "[1].occurred_at"),
    ] {
        let body = json!([event("run_start"), bad]).to_string();
        let (status, answer) = gateway.post(INGEST, &body).await;
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
    assert_eq!(gateway.get("/api/runs").await.1["runs"], json!([]));
}

#[tokio::test]
async fn an_array_holds_1_to_1000_events() {
    let gateway = Gateway::start().await;
    let of = |count: usize| Value::from(vec![event("step"); count]).to_string();
    for count in [0, 1_001] {
        let (status, answer) = gateway.post(INGEST, &of(count)).await;
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("body")));
    }
    let (status, answers) = gateway.post(INGEST, &of(1_000)).await;
    assert_eq!((status, &answers[999]["seq"]), (202, &json!(1_000)));
}

#[tokio::test]
async fn a_run_that_fails_takes_no_other_run_with_it_and_both_are_named() {
    let gateway = Gateway::start().await;
    let taken = json!({ "event_type": "step", "sdk_run_id": "bad", "event_id": "e" });
    ingest(&gateway, &taken).await;
    let body = json!([
        { "event_type": "step", "sdk_run_id": "good", "event_id": "g" },
        { "event_type": "step", "sdk_run_id": "bad" },
        { "event_type": "error", "sdk_run_id": "bad", "event_id": "e" },
        { "event_type": "step", "sdk_run_id": "fine", "event_id": "f" },
    ]);
    let (status, answer) = gateway.post(INGEST, &body.to_string()).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("EVENT_ID_CONFLICT")));
    let details = &answer["error"]["details"];
    assert_eq!((&details["sdk_run_id"], &details["stored_sdk_run_ids"]), (&json!("bad"), &json!(["good", "fine"])));
    for (run, last_seq) in [("good", 1), ("bad", 1), ("fine", 1)] {
        assert_eq!(gateway.get(&format!("/api/runs/{run}")).await.1["last_seq"], last_seq, "{run}");
    }
    // A retry of the rest reports duplicates as such.
    let (status, answers) = gateway.post(INGEST, &json!([body[0], body[3]]).to_string()).await;
    assert_eq!((status, &answers[0]["duplicate"], &answers[1]["duplicate"]), (202, &json!(true), &json!(true)));
}

#[tokio::test]
async fn an_array_of_one_event_takes_the_key_and_is_answered_and_refused_as_an_array() {
    let gateway = Gateway::start().await;
    let send = async |key: &str, events: Value| {
        let request = gateway.client.post(gateway.url(INGEST)).header("idempotency-key", key);
        read(request.body(events.to_string()).send().await.unwrap()).await
    };
    for is_repeat in [Value::Null, json!(true)] {
        let (status, answers) = send("k", json!([{"event_type": "step", "sdk_run_id": "r"}])).await;
        assert_eq!((status, answers.as_array().map(Vec::len)), (202, Some(1)), "{answers}");
        assert_eq!((&answers[0]["event_id"], &answers[0]["seq"]), (&json!("k"), &json!(1)), "{answers}");
        assert_eq!(answers[0].get("duplicate").unwrap_or(&Value::Null), &is_repeat);
    }
    let (status, refusal) = send("k", json!([{"event_type": "other", "sdk_run_id": "r"}])).await;
    assert_eq!(status, 409, "{refusal}");
    let (status, refusal) = send("runlog:k", json!([{"event_type": "step", "sdk_run_id": "r"}])).await;
    assert_eq!((status, &refusal["error"]["details"]["field"]), (422, &json!("Idempotency-Key")), "{refusal}");
    let bad = json!([{"event_type": "step", "sdk_run_id": "r", "event_id": "runlog:k"}]);
    let (status, refusal) = gateway.post(INGEST, &bad.to_string()).await;
    assert_eq!((status, &refusal["error"]["details"]["field"]), (422, &json!("[0].event_id")), "{refusal}");
}
