//! `--finish-ends-run`: a Griptape structure that finishes ends its run.

use runlog::config::{FinishOption, LifecycleOption};
use runlog::pb;
use serde_json::{Value, json};

use crate::harness::Gateway;

const FINISH: &str = "FinishStructureRunEvent";

async fn start(option: FinishOption) -> Gateway {
    Gateway::start_with(|options| options.writing.finish_ends_run = option).await
}

/// The last batch of a pipeline, as the published driver posts it.
fn last_batch(output: &str) -> Value {
    json!([
        {"type": "TextChunkEvent", "payload": {"id": "chunk", "token": "x"}},
        {"type": FINISH, "payload": {"id": output, "output_task_output": {"value": output}}},
        {"type": "FinishTaskEvent", "payload": {"id": "late"}},
    ])
}

async fn types(gateway: &Gateway) -> Vec<String> {
    let (_, page) = gateway.get("/api/structure-runs/r/events").await;
    page["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

async fn post(gateway: &Gateway, events: &Value) -> u16 {
    gateway.post("/api/structure-runs/r/events", &events.to_string()).await.0
}

#[tokio::test]
async fn a_structure_that_finishes_ends_its_run_once_however_often_it_is_posted() {
    let gateway = start(FinishOption::On).await;
    for _ in 0..2 {
        assert_eq!(post(&gateway, &last_batch("done")).await, 202);
        assert_eq!(types(&gateway).await, ["TextChunkEvent", FINISH, "FinishTaskEvent", "StructureRunCompleted"]);
    }
    let (_, run) = gateway.get("/api/structure-runs/r").await;
    assert_eq!((&run["status"], &run["output"]["value"]), (&json!("SUCCEEDED"), &json!("done")), "{run}");
    let (_, page) = gateway.get("/api/structure-runs/r/events?offset=3").await;
    assert_eq!(
        (&page["events"][0]["origin"], &page["events"][0]["payload"]),
        (&json!("SYSTEM"), &json!({"status": "SUCCEEDED"}))
    );
    let (_, stream) = gateway.stream("/api/structure-runs/r/events/stream").await;
    assert!(stream.ends_with(": end\n"), "{stream}");
    // A second structure under the same run is stored, and the run stays as it ended.
    assert_eq!(
        post(&gateway, &json!({"type": FINISH, "payload": {"id": "again", "output_task_output": null}})).await,
        202
    );
    let (_, again) = gateway.get("/api/structure-runs/r").await;
    assert_eq!((&again["status"], &again["completed_at"]), (&json!("SUCCEEDED"), &run["completed_at"]));
    assert_eq!(types(&gateway).await[4..], [FINISH]);
}

#[tokio::test]
async fn a_structure_that_finishes_without_an_output_or_with_an_error_fails_its_run() {
    let gateway = start(FinishOption::On).await;
    for (run, output) in [("none", Value::Null), ("error", json!({"type": "ErrorArtifact", "value": "no model"}))] {
        let event = json!({"type": FINISH, "payload": {"output_task_output": output}});
        let path = format!("/api/structure-runs/{run}");
        assert_eq!(gateway.post(&format!("{path}/events"), &event.to_string()).await.0, 202);
        let (_, shown) = gateway.get(&path).await;
        assert_eq!((&shown["status"], &shown["output"]), (&json!("FAILED"), &output), "{shown}");
        assert_eq!(shown["status_detail"]["reason"], "Failed", "{shown}");
    }
}

#[tokio::test]
async fn a_structure_inside_the_one_with_which_the_run_began_ends_nothing() {
    let gateway = start(FinishOption::On).await;
    let of = |event_type: &str, structure: &str, output: Value| json!({"type": event_type, "payload": {"structure_id": structure, "output_task_output": output}});
    for event in [
        of("StartStructureRunEvent", "outer", Value::Null),
        of("StartStructureRunEvent", "inner", Value::Null),
        of(FINISH, "inner", json!("half")),
    ] {
        assert_eq!(post(&gateway, &event).await, 202);
    }
    let (_, run) = gateway.get("/api/structure-runs/r").await;
    assert_eq!(run["status"], "QUEUED", "{run}");
    let last = json!([of(FINISH, "outer", json!("whole")), of(FINISH, "inner", json!("late"))]);
    assert_eq!(post(&gateway, &last).await, 202);
    let (_, run) = gateway.get("/api/structure-runs/r").await;
    assert_eq!(run["status"], "SUCCEEDED", "{run}");
    // The same, where start and end of both come at once.
    let all = json!([
        of("StartStructureRunEvent", "outer", Value::Null),
        of("StartStructureRunEvent", "inner", Value::Null),
        of(FINISH, "inner", json!({"type": "ErrorArtifact"})),
        of(FINISH, "outer", json!("whole")),
    ]);
    assert_eq!(gateway.post("/api/structure-runs/at-once/events", &all.to_string()).await.0, 202);
    assert_eq!(gateway.get("/api/structure-runs/at-once").await.1["status"], "SUCCEEDED");
}

#[tokio::test]
async fn without_the_option_a_structure_that_finishes_sets_the_output_and_ends_nothing() {
    let gateway = start(FinishOption::Off).await;
    assert_eq!(post(&gateway, &last_batch("done")).await, 202);
    let (_, run) = gateway.get("/api/structure-runs/r").await;
    assert_eq!((&run["status"], &run["output"]["value"]), (&json!("QUEUED"), &json!("done")), "{run}");
    assert_eq!(types(&gateway).await.len(), 3);
}

#[tokio::test]
async fn every_api_answers_for_the_events_that_were_sent_and_for_no_other() {
    let gateway = start(FinishOption::On).await;
    let event = json!({"event_type": FINISH, "sdk_run_id": "a", "payload": {"output_task_output": 1}});
    let (status, answer) = gateway.post("/api/ingest", &event.to_string()).await;
    assert_eq!((status, &answer["seq"], &answer["run_status"]), (202, &json!(1), &json!("success")), "{answer}");
    let (_, answers) = gateway.post("/api/ingest", &json!([event, event]).to_string()).await;
    assert_eq!(answers.as_array().map(Vec::len), Some(2), "{answers}");
    let (_, published) = gateway.post("/v1/runs/b/events", &json!({"type": FINISH, "payload": {}}).to_string()).await;
    assert_eq!(published["events"].as_array().map(Vec::len), Some(1), "{published}");
    let event = pb::NewEvent { r#type: FINISH.to_owned(), ..Default::default() };
    let system = pb::NewEvent { origin: pb::Origin::System as i32, ..event.clone() };
    let publish =
        |run: &str, event| pb::PublishRequest { run_id: run.to_owned(), events: vec![event], ..Default::default() };
    let create =
        pb::CreateRunRequest { run_id: "e".to_owned(), first_event: Some(event.clone()), ..Default::default() };
    gateway.runs().await.create_run(create).await.unwrap();
    let (_, created) = gateway.get("/v1/runs/e").await;
    assert_eq!((&created["status"], &created["last_seq"]), (&json!("failed"), &json!(2)), "{created}");
    let answer = gateway.events().await.publish(publish("c", event)).await.unwrap().into_inner();
    assert_eq!((answer.events.len(), answer.events[0].seq), (1, 1), "{answer:?}");
    assert_eq!(gateway.get("/v1/runs/c").await.1["status"], "failed");
    // Only the agent's own code says that its structure has finished.
    gateway.events().await.publish(publish("d", system)).await.unwrap();
    assert_eq!(gateway.get("/v1/runs/d").await.1["last_seq"], 1);
}

#[tokio::test]
async fn under_a_strict_lifecycle_a_structure_that_finishes_after_the_end_is_stored_and_ends_nothing() {
    let gateway = Gateway::start_with(|options| {
        options.writing.finish_ends_run = FinishOption::On;
        options.lifecycle = LifecycleOption::Strict;
    })
    .await;
    assert_eq!(post(&gateway, &json!({"type": "step", "payload": {}})).await, 202);
    assert_eq!(gateway.post("/api/structure-runs/r/cancel", "{}").await.0, 200);
    assert_eq!(post(&gateway, &last_batch("done")).await, 202);
    assert!(!types(&gateway).await.contains(&"StructureRunCompleted".to_owned()));
    assert_eq!(gateway.get("/api/structure-runs/r").await.1["status"], "CANCELLED");
}
