use jiff::Timestamp;

use super::*;
use crate::domain::{AgentName, EventId, EventType, Payload, RunId, Usage};

fn event(seq: u64, event_type: &str, payload: &str) -> Event {
    let event_type = EventType::parse(event_type).unwrap();
    let at = Timestamp::from_second(1_700_000_000 + i64::try_from(seq).unwrap()).unwrap();
    Event {
        run_id: RunId::parse("r").unwrap(),
        seq,
        event_id: EventId::parse("e").unwrap(),
        origin: Origin::default_for(&event_type),
        event_type,
        occurred_at: at,
        recorded_at: at,
        agent_name: None,
        payload: Payload::from_stored(payload),
    }
}

fn play(events: &[(&str, &str)]) -> (Run, Documents) {
    let mut run = Run::new(RunId::parse("r").unwrap(), Timestamp::UNIX_EPOCH);
    let mut documents = Documents::default();
    for (seq, (event_type, payload)) in (1..).zip(events) {
        documents.merge(apply(&mut run, &event(seq, event_type, payload), Lifecycle::Record).unwrap());
    }
    (run, documents)
}

fn status_after(events: &[(&str, &str)]) -> RunStatus {
    play(events).0.status
}

#[test]
fn the_status_table_holds_row_by_row() {
    use RunStatus::{AwaitingInput, Cancelled, Failed, Queued, Running, Stalled, Starting, Succeeded, Unspecified};
    for (event_type, payload, expected) in [
        ("StructureRunStarting", r#"{"status":"STARTING"}"#, Starting),
        ("StructureRunRunning", "{}", Running),
        ("StructureRunCompleted", r#"{"status":"SUCCEEDED"}"#, Succeeded),
        ("StructureRunCompleted", r#"{"status":"FAILED"}"#, Failed),
        ("StructureRunCompleted", r#"{"status":"CANCELLED"}"#, Cancelled),
        ("StructureRunCompleted", r#"{"status_detail":{"exit_code":0}}"#, Succeeded),
        ("StructureRunCompleted", r#"{"status_detail":{"exit_code":1}}"#, Failed),
        ("StructureRunError", "{}", Failed),
        ("run_start", "{}", Running),
        ("run_end", "{}", Succeeded),
        ("error", "{}", Failed),
        ("human_input_requested", "{}", AwaitingInput),
        ("human_input_received", "{}", Running),
        ("run.created", "{}", Queued),
        ("run.worker.started", r#"{"to_status":"running"}"#, Running),
        ("run.worker.succeeded", r#"{"to_status":"succeeded"}"#, Succeeded),
        ("run.worker.failed", r#"{"to_status":"failed"}"#, Failed),
        ("run.worker.failed", r#"{"to_status":"queued"}"#, Queued),
        ("run.worker.stalled", r#"{"to_status":"stalled"}"#, Stalled),
        ("run.worker.retry_scheduled", r#"{"to_status":"queued"}"#, Queued),
        ("run.worker.started", "{}", Running),
        ("run.resumed", r#"{"to_status":"queued"}"#, Queued),
        ("run.cancelled", r#"{"to_status":"cancelled"}"#, Cancelled),
        ("run.limit_exceeded", "{}", Failed),
        ("run.awaiting_input", "{}", AwaitingInput),
        ("step", "{}", Unspecified),
        ("tool_call", "[1]", Unspecified),
        ("MyOwnEvent", "null", Unspecified),
        ("run.worker.started", "not an object", Running),
    ] {
        assert_eq!(status_after(&[(event_type, payload)]), expected, "{event_type} {payload}");
    }
}

#[test]
fn a_final_status_stays_and_late_events_still_count() {
    let late = [("run_end", r#"{"output":1,"total_tokens":3}"#), ("error", r#"{"e":1}"#), ("run_start", "{}")];
    let (run, documents) = play(&late);
    assert_eq!(run.status, RunStatus::Succeeded);
    assert_eq!(run.last_seq, 3);
    assert_eq!(run.completed_at.unwrap().as_second(), 1_700_000_001);
    assert_eq!(documents.output_json.as_deref(), Some("1"));
}

#[test]
fn strict_lifecycle_refuses_the_way_out_of_a_final_status_and_changes_nothing() {
    let (mut run, _) = play(&[("run_end", "{}")]);
    let before = run.clone();
    let error = apply(&mut run, &event(2, "run_start", "{}"), Lifecycle::Strict).unwrap_err();
    assert_eq!(error.reason(), "RUN_STATUS_FINAL");
    assert_eq!(run, before);
    assert!(apply(&mut run, &event(2, "step", "{}"), Lifecycle::Strict).is_ok());
    assert!(apply(&mut run, &event(3, "run_end", "{}"), Lifecycle::Strict).is_ok());
}

#[test]
fn a_question_is_kept_until_it_is_answered() {
    let ask = ("human_input_requested", r#"{"question":"Deploy?","context":{"n": 5},"channel":"slack"}"#);
    let (_, documents) = play(&[ask, ("step", "{}"), ("run.worker.stalled", "{}")]);
    let pending = documents.pending_input.unwrap().unwrap();
    assert_eq!((pending.question.as_str(), pending.requested_seq), ("Deploy?", 1));
    assert_eq!(pending.context_json, r#"{"n": 5}"#);
    for answer in ["human_input_received", "run.signal_applied", "run.input_received", "run_end"] {
        assert_eq!(play(&[ask, (answer, "{}")]).1.pending_input, Some(None), "{answer}");
    }
    let (run, documents) = play(&[("run.awaiting_input", r#"{"reason_code":"A"}"#), ("run.signal_applied", "{}")]);
    assert_eq!(run.status, RunStatus::AwaitingInput, "the status waits for run.resumed");
    assert_eq!(documents.pending_input, Some(None));
}

#[test]
fn usage_adds_up_and_the_output_is_the_text_as_sent() {
    let end = r#"{"output":{"b":1, "a":12345678901234567890123},"prompt_tokens":150,"cost_usd":0.5,"model":"m"}"#;
    let (run, documents) = play(&[("run_end", end), ("run_end", r#"{"prompt_tokens":1,"total_tokens":2}"#)]);
    assert_eq!(documents.output_json.as_deref(), Some(r#"{"b":1, "a":12345678901234567890123}"#));
    let expected =
        Usage { prompt_tokens: 151, completion_tokens: 0, total_tokens: 2, cost_usd: 0.5, model: "m".into() };
    assert_eq!(run.usage, Some(expected));
}

#[test]
fn only_a_user_event_fills_the_output_of_a_structure_run() {
    let payload = r#"{"output_task_output":{"value":"42"}}"#;
    let (mut run, documents) = play(&[("FinishStructureRunEvent", payload)]);
    assert_eq!(documents.output_json.as_deref(), Some(r#"{"value":"42"}"#));
    let mut system = event(2, "FinishStructureRunEvent", payload);
    system.origin = Origin::System;
    assert_eq!(apply(&mut run, &system, Lifecycle::Record).unwrap().output_json, None);
}

#[test]
fn the_first_named_agent_names_the_run() {
    let mut run = Run::new(RunId::parse("r").unwrap(), Timestamp::UNIX_EPOCH);
    for (seq, name) in [(1, None), (2, Some("a")), (3, Some("b"))] {
        let mut next = event(seq, "step", "{}");
        next.agent_name = name.map(|n| AgentName::parse(n).unwrap());
        apply(&mut run, &next, Lifecycle::Record).unwrap();
    }
    assert_eq!(run.agent_name.unwrap().as_str(), "a");
}
