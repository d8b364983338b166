//! Open questions of a run: several at a time, of a busy run, answered by name or in order.

use std::sync::atomic::{AtomicBool, Ordering};

use runlog::pb;
use serde_json::{Value, json};

use crate::harness::Gateway;

async fn publish(gateway: &Gateway, event_type: &str, payload: Value) {
    let body = json!({"event_type": event_type, "sdk_run_id": "r", "payload": payload}).to_string();
    let (status, answer) = gateway.post("/api/ingest", &body).await;
    assert_eq!(status, 202, "{answer}");
}

async fn signal(gateway: &Gateway, body: Value) -> (u16, Value) {
    gateway.post("/v1/runs/r/signal", &body.to_string()).await
}

/// The ids of the open questions, as each REST API and gRPC show them.
async fn open(gateway: &Gateway) -> Vec<String> {
    let (_, public) = gateway.get("/v1/runs/r").await;
    let (_, agent) = gateway.get("/api/runs/r").await;
    let run = gateway.runs().await.get_run(pb::GetRunRequest { run_id: "r".to_owned() }).await.unwrap().into_inner();
    let run = run.run.unwrap();
    let ids = |questions: &Value| -> Vec<String> {
        let questions = questions.as_array().map_or(&[][..], Vec::as_slice);
        questions.iter().map(|question| question["question_id"].as_str().unwrap().to_owned()).collect()
    };
    let open: Vec<String> = run.pending_inputs.iter().map(|question| question.question_id.clone()).collect();
    assert_eq!((ids(&public["pending_inputs"]), ids(&agent["pending_inputs"])), (open.clone(), open.clone()));
    assert_eq!(run.pending_input.as_ref(), run.pending_inputs.first(), "the oldest");
    assert_eq!(public.get("pending_input"), public["pending_inputs"].get(0));
    assert_eq!(agent["pending_input"], agent["pending_inputs"].get(0).cloned().unwrap_or_default());
    assert_eq!(run.pending_input_count as usize, open.len());
    assert_eq!(agent["pending_input_count"], json!(open.len()));
    assert_eq!(public.get("pending_input_count").cloned().unwrap_or(json!(0)), json!(open.len()));
    open
}

#[tokio::test]
async fn questions_queue_and_each_answer_closes_the_one_that_it_names_or_the_oldest() {
    let gateway = Gateway::start().await;
    for id in ["a", "b", "c", "d"] {
        publish(&gateway, "human_input_requested", json!({"question": {"title": id}, "question_id": id})).await;
    }
    assert_eq!(open(&gateway).await, ["a", "b", "c", "d"]);
    let (_, shown) = gateway.get("/v1/runs/r").await;
    assert_eq!(shown["pending_input"]["question"], json!(r#"{"title":"a"}"#), "no string: its JSON text");
    let answer = json!({"action": "approve", "payload": {"question_id": "c"}});
    assert_eq!(signal(&gateway, answer.clone()).await.0, 200);
    assert_eq!(open(&gateway).await, ["a", "b", "d"]);
    let (status, refusal) = signal(&gateway, answer).await;
    assert_eq!((status, &refusal["reason_code"]), (409, &json!("control_refused")), "answered already");
    assert_eq!(signal(&gateway, json!({"action": "submit_input", "payload": 7})).await.0, 200);
    assert_eq!(open(&gateway).await, ["b", "d"]);
    let (_, page) = gateway.get("/v1/runs/r/events?order=desc&limit=1").await;
    assert_eq!(page["events"][0]["payload"]["value"]["requested_seq"], json!(1), "the event says which one");
    publish(&gateway, "human_input_received", json!({"response": "yes", "question_id": "d"})).await;
    assert_eq!(open(&gateway).await, ["b"]);
    assert_eq!(gateway.get("/api/runs/r").await.1["status"], json!("waiting_for_input"));
    publish(&gateway, "human_input_received", json!({"response": "yes"})).await;
    assert_eq!(open(&gateway).await, [""; 0]);
    assert_eq!(gateway.get("/api/runs/r").await.1["status"], json!("running"));
}

#[tokio::test]
async fn every_question_of_a_busy_run_can_be_answered() {
    let gateway = Gateway::start().await;
    let (is_over, questions) = (AtomicBool::new(false), 12);
    let busy = async {
        while !is_over.load(Ordering::Relaxed) {
            let steps = (0..20).map(|n| publish(&gateway, "step", json!({"n": n})));
            futures_util::future::join_all(steps).await;
        }
    };
    let answered = async {
        for n in 0..questions {
            publish(&gateway, "human_input_requested", json!({"question": n})).await;
            let (status, answer) = signal(&gateway, json!({"action": "approve"})).await;
            assert_eq!(status, 200, "{n}: {answer}");
        }
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(busy, answered);
    let (_, page) = gateway.get("/v1/runs/r/events?types=run.signal_applied&limit=1000").await;
    assert_eq!(page["events"].as_array().unwrap().len(), questions);
}

#[tokio::test]
async fn of_many_answers_to_one_question_one_is_taken_and_the_others_are_a_conflict() {
    let gateway = Gateway::start().await;
    publish(&gateway, "human_input_requested", json!({"question": "Deploy?"})).await;
    let answers = futures_util::future::join_all((0..8).map(|_| signal(&gateway, json!({"action": "reject"})))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(status, _)| *status == 200);
    assert_eq!((taken.len(), refused.len()), (1, 7));
    for (status, refusal) in refused {
        let message = refusal["error"].as_str().unwrap();
        assert!(status == 409 && message.contains("awaits no answer any more"), "{message}");
    }
}

#[tokio::test]
async fn a_keyed_answer_that_is_sent_again_is_carried_out_once_though_another_question_is_open() {
    let gateway = Gateway::start().await;
    for id in ["a", "b"] {
        publish(&gateway, "human_input_requested", json!({"question_id": id})).await;
    }
    let answer = async |body: &'static str| {
        let request = gateway.client.post(gateway.url("/v1/runs/r/signal")).header("idempotency-key", "k");
        let request = request.header("content-type", "application/json").body(body);
        request.send().await.unwrap().status().as_u16()
    };
    for body in [r#"{"action":"approve","payload":{"n":1}}"#, r#"{"payload":{ "n":1.0 },"action":"approve"}"#] {
        assert_eq!(answer(body).await, 200);
        assert_eq!(open(&gateway).await, ["b"]);
    }
    assert_eq!(answer(r#"{"action":"reject","payload":{"n":1}}"#).await, 409, "the key is taken");
    assert_eq!(answer(r#"{"action":"approve","payload":{"n":2}}"#).await, 409, "the key is taken");
    assert_eq!(open(&gateway).await, ["b"]);
}

/// Version 0.1.0 stored no ids of questions; the events have them.
#[tokio::test]
async fn an_answer_to_a_question_of_the_version_before_names_it_by_the_id_of_its_event() {
    let forget = r#"UPDATE run_documents SET kind = substr(kind, 1, 34) || '?', json = '{"requested_seq":1}', checksum = NULL
        WHERE kind LIKE 'pending_input:%1:a'"#;
    let asked = [
        ("r", "human_input_requested", "1", r#"{"question_id":"a"}"#),
        ("r", "human_input_requested", "2", r#"{"question_id":"b"}"#),
    ];
    let gateway = Gateway::start_on_changed(&asked, forget).await;
    let answer = async |id: &str| {
        let answer = json!({"action": "approve", "payload": {"question_id": id}}).to_string();
        gateway.post("/v1/runs/r/signal", &answer).await.0
    };
    assert_eq!(gateway.get("/v1/runs/r").await.1["pending_inputs"][0].get("question_id"), None);
    assert_eq!(answer("b").await, 200);
    assert_eq!(answer("b").await, 409, "not in place of the question that is open");
    assert_eq!(answer("a").await, 200);
    assert_eq!(answer("a").await, 409);
}
