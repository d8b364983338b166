//! Controls retried and sent concurrently.

use futures_util::future::join_all;
use serde_json::json;

use super::Run;

const APPROVE: &str = r#"{"action":"approve","payload":{"a":1}}"#;

#[tokio::test]
async fn the_same_key_is_carried_out_once() {
    let run = Run::waiting().await;
    let first = run.post_keyed("/signal", "k", APPROVE).await;
    assert_eq!(first.0, 200);
    assert_eq!(run.post_keyed("/signal", "k", APPROVE).await, first);
    run.publish(json!({"type": "run.awaiting_input", "payload": {"reason_code": "AGAIN"}})).await;
    let (status, shown) = run.post_keyed("/signal", "k", APPROVE).await;
    assert_eq!((status, &shown["pending_input"]["reason_code"]), (200, &json!("AGAIN")), "an old answer is no new one");
    assert_eq!(run.post_keyed("/signal", "new", APPROVE).await.0, 200);
    assert_eq!(run.types().await.iter().filter(|name| *name == "run.signal_applied").count(), 2);
}

#[tokio::test]
async fn the_same_key_with_another_request_is_a_conflict() {
    let run = Run::waiting().await;
    assert_eq!(run.post_keyed("/signal", "k", APPROVE).await.0, 200);
    for waits in [false, true] {
        if waits {
            run.publish(json!({"type": "run.awaiting_input", "payload": {}})).await;
        }
        for (rest, body) in [
            ("/signal", r#"{"action":"approve","payload":{"a":2}}"#),
            ("/signal", r#"{"action":"reject","payload":{"a":1}}"#),
            ("/signal", r#"{"action":"submit_input"}"#),
            ("/resume", ""),
        ] {
            let (status, refusal) = run.post_keyed(rest, "k", body).await;
            assert_eq!((status, &refusal["reason_code"]), (409, &json!("idempotency_conflict")), "{rest} {body}");
        }
    }
    assert_eq!(run.events().await.len(), 4);
}

#[tokio::test]
async fn a_resume_under_a_key_is_carried_out_once() {
    let run = Run::with(json!({"type": "run.worker.stalled", "payload": {}})).await;
    let first = run.post_keyed("/resume", "k", "").await;
    assert_eq!((first.0, &first.1["status"]), (200, &json!("queued")));
    assert_eq!(run.post_keyed("/resume", "k", "").await, first);
    run.publish(json!({"type": "run.awaiting_input", "payload": {}})).await;
    let (status, shown) = run.post_keyed("/resume", "k", "").await;
    assert_eq!((status, &shown["status"]), (200, &json!("awaiting_input")), "the first try counts");
    assert_eq!(run.types().await.iter().filter(|name| *name == "run.resumed").count(), 1);
}

#[tokio::test]
async fn a_key_is_remembered_over_a_restart() {
    let mut run = Run::waiting().await;
    let first = run.post_keyed("/signal", "k", APPROVE).await;
    run.gateway = run.gateway.restart().await;
    assert_eq!(run.post_keyed("/signal", "k", APPROVE).await, first);
    assert_eq!(run.post_keyed("/signal", "k", r#"{"action":"reject"}"#).await.0, 409);
}

#[tokio::test]
async fn a_key_is_checked_by_name() {
    let run = Run::waiting().await;
    for key in ["", &"k".repeat(201)] {
        let (status, refusal) = run.post_keyed("/signal", key, APPROVE).await;
        assert_eq!(status, 422);
        assert!(refusal["error"].as_str().unwrap().starts_with("Idempotency-Key: "), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_cancels_at_once_one_is_an_event() {
    let run = Run::create().await;
    let answers = join_all((0..8).map(|_| run.post("/cancel", ""))).await;
    assert!(
        answers.iter().all(|(status, shown)| *status == 200 && shown["status"] == json!("cancelled")),
        "{answers:?}"
    );
    assert_eq!(run.types().await, ["run.created", "run.cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_answers_at_once_one_counts() {
    let run = Run::waiting().await;
    let mut answers: Vec<_> =
        join_all((0..8).map(|_| run.post("/signal", APPROVE))).await.into_iter().map(|(status, _)| status).collect();
    answers.sort_unstable();
    assert_eq!(answers, [200, 409, 409, 409, 409, 409, 409, 409]);
    let keyed = Run::waiting().await;
    let answers = join_all((0..8).map(|_| keyed.post_keyed("/signal", "k", APPROVE))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(keyed.types().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_never_pauses_can_be_cancelled() {
    let run = Run::create().await;
    let busy = async {
        // Publishers that publish as long as the run accepts events.
        let publisher = |worker: usize| {
            let run = &run;
            async move {
                while run.status().await != "cancelled" {
                    run.publish(json!({"type": "step", "payload": {"worker": worker}})).await;
                }
            }
        };
        join_all((0..8).map(publisher)).await;
    };
    let ((), (status, shown)) = tokio::join!(busy, run.post("/cancel", ""));
    assert_eq!((status, &shown["status"]), (200, &json!("cancelled")), "{shown}");
    assert_eq!(run.types().await.iter().filter(|name| *name == "run.cancelled").count(), 1);
}
