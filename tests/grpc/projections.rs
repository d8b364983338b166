//! The projection of a run's events in each of the three vocabularies, by the table "Status of a run" of the reference.

use runlog::pb;
use runlog::pb::RunStatus::{self, AwaitingInput, Cancelled, Failed, Queued, Running, Stalled, Starting, Succeeded};

use crate::builders::json_event;
use crate::harness::TestServer;

fn at(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 5_000 }
}

/// Publishes each event at the seconds 1, 2, 3 … and checks the status after each, in the answer and in the run.
async fn statuses(server: &TestServer, run_id: &str, events: &[(&str, &str, RunStatus)]) -> pb::Run {
    for (second, (event_type, json, status)) in (1..).zip(events) {
        let event = pb::NewEvent { occurred_at: Some(at(second)), ..json_event(event_type, json) };
        assert_eq!(server.publish(run_id, vec![event]).await.run_status(), *status, "after {event_type}");
        assert_eq!(server.run(run_id).await.status(), *status, "after {event_type}");
    }
    let run = server.run(run_id).await;
    assert_eq!(run.last_seq, events.len() as u64);
    let stored = server.everything().await;
    let of_run: Vec<_> = stored.iter().filter(|event| event.run_id == run_id).collect();
    assert_eq!(run.created_at, of_run[0].recorded_at);
    assert_eq!(run.updated_at, of_run[of_run.len() - 1].recorded_at);
    run
}

#[tokio::test]
async fn a_structure_run() {
    let mut server = TestServer::start().await;
    let events = [
        ("StructureRunStarting", r#"{"status":"STARTING"}"#, Starting),
        ("StructureRunRunning", r#"{"status":"RUNNING"}"#, Running),
        ("FinishStructureRunEvent", r#"{"output_task_output":{"value": "Hello!"}}"#, Running),
        ("StructureRunCompleted", r#"{"status":"SUCCEEDED","status_detail":{"exit_code":0}}"#, Succeeded),
        ("StructureRunError", r#"{"status":"ERROR"}"#, Succeeded),
    ];
    let run = statuses(&server, "r", &events).await;
    assert_eq!(run.output_json, r#"{"value": "Hello!"}"#, "as sent");
    assert_eq!((run.started_at, run.completed_at), (Some(at(1)), Some(at(4))));
    assert_eq!((run.usage, run.pending_input.as_ref()), (None, None));
    server.restart().await;
    assert_eq!(server.run("r").await.output_json, run.output_json);
}

#[tokio::test]
async fn a_structure_run_that_fails() {
    let server = TestServer::start().await;
    for (n, (json, status)) in [
        (r#"{"status":"FAILED","status_detail":{"reason":"x"}}"#, Failed),
        (r#"{"status":"CANCELLED"}"#, Cancelled),
        (r#"{"status_detail":{"exit_code":1}}"#, Failed),
        (r#"{"status_detail":{"exit_code":0}}"#, Succeeded),
        ("{}", Succeeded),
    ]
    .into_iter()
    .enumerate()
    {
        statuses(&server, &format!("r{n}"), &[("StructureRunCompleted", json, status)]).await;
    }
    assert_eq!(server.run("r0").await.error_json, r#"{"reason":"x"}"#);
    assert_eq!(server.run("r2").await.error_json, r#"{"exit_code":1}"#);
    let error = [("StructureRunError", r#"{"status_detail":{"error":"Error message"}}"#, Failed)];
    assert_eq!(statuses(&server, "e", &error).await.error_json, r#"{"error":"Error message"}"#);
}

#[tokio::test]
async fn an_agent_sdk_run() {
    let server = TestServer::start().await;
    let question = r#"{"question":"Deploy?","context":{ "target":"prod" },"channel":"slack"}"#;
    let events = [("run_start", r#"{"input":1}"#, Running), ("human_input_requested", question, AwaitingInput)];
    let run = statuses(&server, "r", &events).await;
    let pending = pb::PendingInput {
        question: "Deploy?".to_owned(),
        context_json: r#"{ "target":"prod" }"#.to_owned(),
        channel: "slack".to_owned(),
        requested_seq: 2,
        ..Default::default()
    };
    assert_eq!((run.pending_input, run.started_at, run.completed_at), (Some(pending), Some(at(1)), None));
    let usage = r#"{"prompt_tokens":150,"completion_tokens":45,"total_tokens":195,"cost_usd":0.5,"model":"gpt-4","output":{"answer": 1}}"#;
    for (event_type, json, status) in [
        ("human_input_received", r#"{"response":"yes"}"#, Running),
        ("step", "{}", Running),
        ("tool_call", "{}", Running),
        ("run_end", usage, Succeeded),
        ("run_end", r#"{"prompt_tokens":1,"model":"other"}"#, Succeeded),
        ("error", r#"{"error_type":"late"}"#, Succeeded),
    ] {
        assert_eq!(server.publish("r", vec![json_event(event_type, json)]).await.run_status(), status);
    }
    let run = server.run("r").await;
    assert_eq!((run.pending_input, run.output_json.as_str()), (None, r#"{"answer": 1}"#));
    let reported = pb::Usage {
        prompt_tokens: 150,
        completion_tokens: 45,
        total_tokens: 195,
        cost_usd: 0.5,
        model: "gpt-4".to_owned(),
    };
    assert_eq!(run.usage, Some(reported), "what came after the end adds nothing");
    let failed = r#"{"error_type":"ValueError","error_message":"x"}"#;
    let run = statuses(&server, "f", &[("run_start", "{}", Running), ("error", failed, Failed)]).await;
    assert_eq!((run.error_json.as_str(), run.completed_at), (failed, Some(at(2))));
}

#[tokio::test]
async fn a_public_run() {
    let server = TestServer::start().await;
    let events = [
        ("run.created", r#"{"request_id":"u"}"#, Queued),
        ("run.worker.started", r#"{"to_status":"running"}"#, Running),
        ("run.worker.retry_scheduled", r#"{"to_status":"queued"}"#, Queued),
        ("run.worker.started", r#"{"to_status":"running"}"#, Running),
        ("step.progress", "{}", Running),
        ("step.done", r#"{"outcome":"fail_run"}"#, Running),
        ("run.tool.invoked", "{}", Running),
        ("run.coordination.decision", "{}", Running),
        ("run.worker.stalled", r#"{"to_status":"stalled"}"#, Stalled),
        ("run.resumed", r#"{"to_status":"queued"}"#, Queued),
        ("run.resumed", r#"{"to_status":"running"}"#, Running),
        ("run.awaiting_input", r#"{"reason_code":"AWAITING_APPROVAL","input_kind":"approval"}"#, AwaitingInput),
    ];
    let run = statuses(&server, "r", &events).await;
    let pending = pb::PendingInput {
        reason_code: "AWAITING_APPROVAL".to_owned(),
        input_kind: "approval".to_owned(),
        requested_seq: 12,
        ..Default::default()
    };
    assert_eq!((run.pending_input, run.started_at), (Some(pending), Some(at(2))));
    let publish = async |event_type, json| server.publish("r", vec![json_event(event_type, json)]).await.run_status();
    assert_eq!(publish("run.signal_applied", r#"{"action":"approve"}"#).await, AwaitingInput, "until it is resumed");
    assert_eq!(server.run("r").await.pending_input, None);
    publish("run.awaiting_input", "{}").await;
    assert_eq!(publish("run.input_received", "{}").await, AwaitingInput);
    assert_eq!(server.run("r").await.pending_input, None);
    assert_eq!(publish("run.resumed", "{}").await, Running);
    assert_eq!(publish("run.worker.succeeded", r#"{"to_status":"succeeded"}"#).await, Succeeded);
    assert!(server.run("r").await.completed_at.is_some());
}

#[tokio::test]
async fn a_public_run_that_does_not_end_well() {
    let server = TestServer::start().await;
    for (n, (event_type, json, status)) in [
        ("run.worker.failed", r#"{"to_status":"failed","reason_code":"STEP_FAILED"}"#, Failed),
        ("run.limit_exceeded", r#"{"limitType":"duration_ms"}"#, Failed),
        ("run.cancelled", r#"{"to_status":"cancelled"}"#, Cancelled),
    ]
    .into_iter()
    .enumerate()
    {
        let run = statuses(&server, &format!("r{n}"), &[(event_type, json, status)]).await;
        assert_eq!(run.error_json, if status == Failed { json } else { "" });
        assert_eq!((run.started_at, run.completed_at), (None, Some(at(1))));
    }
}

#[tokio::test]
async fn a_run_that_ends_while_it_waits_has_no_question_any_more() {
    let server = TestServer::start().await;
    let events = [("human_input_requested", r#"{"question":"?"}"#, AwaitingInput), ("run.cancelled", "{}", Cancelled)];
    assert_eq!(statuses(&server, "r", &events).await.pending_input, None);
}

#[tokio::test]
async fn payloads_that_are_not_as_documented_do_no_harm() {
    let server = TestServer::start().await;
    for (n, json) in ["null", "[]", "\"x\"", r#"{"to_status":7,"output":"\ud800"}"#, "1e999"].iter().enumerate() {
        let run_id = format!("r{n}");
        let events = ["run.worker.started", "human_input_requested", "StructureRunCompleted", "run_end", "error"];
        server.publish(&run_id, events.map(|event_type| json_event(event_type, json)).into()).await;
        assert_eq!(server.run(&run_id).await.status(), Succeeded);
    }
    let usage = r#"{"prompt_tokens":-1,"total_tokens":1.5,"cost_usd":1e999,"completion_tokens":18446744073709551615}"#;
    server.publish("u", vec![json_event("run_end", usage), json_event("run_end", usage)]).await;
    let usage = server.run("u").await.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.total_tokens), (0, 0));
    assert_eq!((usage.completion_tokens, usage.cost_usd), (u64::MAX, 0.0), "it does not run over");
}
