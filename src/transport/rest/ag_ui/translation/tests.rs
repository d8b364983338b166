mod compacted;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::open_parts::MAX_OPEN;
use super::*;
use crate::domain::{EventId, EventType, Origin, Payload};

fn event(seq: u64, event_type: &str, payload: &Value) -> Event {
    let event_type = EventType::parse(event_type).unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    Event {
        run_id: RunId::parse("r").unwrap(),
        seq,
        event_id: EventId::parse("e").unwrap(),
        origin: Origin::default_for(&event_type),
        event_type,
        occurred_at: now,
        sent_seconds: None,
        recorded_at: now,
        agent_name: None,
        payload: Payload::from_stored(payload.to_string()),
        removal: None,
        joined_from: None,
    }
}

fn begin() -> Translation {
    Translation::after(RunId::parse("r").unwrap(), 0, 0)
}

fn values(events: &[AgUiEvent]) -> Vec<Value> {
    events.iter().map(|event| serde_json::from_str(&event.to_json()).unwrap()).collect()
}

/// The AG-UI events of each event.
fn translated(events: &[(&str, Value)]) -> Vec<Vec<Value>> {
    let mut translation = begin();
    let step = |(seq, (event_type, payload)): (u64, &(&str, Value))| {
        values(&translation.translate(&event(seq, event_type, payload), &payload.to_string()))
    };
    (1..).zip(events).map(step).collect()
}

/// Types, with what they are about, for instance `STEP_STARTED plan`.
fn short(events: &[Value]) -> Vec<String> {
    let about = |event: &Value| {
        let subject = ["stepName", "delta", "content", "toolCallName", "messageId", "toolCallId", "message"];
        let subject = subject.into_iter().find_map(|name| event[name].as_str());
        let subject = subject.or_else(|| event["snapshot"]["status"].as_str()).unwrap_or_default();
        format!("{} {subject}", event["type"].as_str().unwrap()).trim_end().to_owned()
    };
    events.iter().map(about).collect()
}

/// The rules of the protocol for one connection.
#[derive(Default)]
struct Connection {
    steps: Vec<Value>,
    messages: Vec<Value>,
    calls: Vec<Value>,
    events: usize,
    is_over: bool,
}

impl Connection {
    fn take(&mut self, event: &Value) {
        let event_type = event["type"].as_str().unwrap();
        assert!(!self.is_over, "after the end: {event}");
        assert_eq!(self.events == 0, event_type == "RUN_STARTED", "{event}");
        self.events += 1;
        let begins = |open: &mut Vec<Value>, name: &str| {
            assert!(!open.contains(&event[name]), "open already: {event}");
            open.push(event[name].clone());
        };
        let is_open = |open: &[Value], name: &str| assert!(open.contains(&event[name]), "not open: {event}");
        match event_type {
            "STEP_STARTED" => begins(&mut self.steps, "stepName"),
            "TEXT_MESSAGE_START" => begins(&mut self.messages, "messageId"),
            "TOOL_CALL_START" => begins(&mut self.calls, "toolCallId"),
            "TEXT_MESSAGE_CONTENT" => is_open(&self.messages, "messageId"),
            "TOOL_CALL_ARGS" => is_open(&self.calls, "toolCallId"),
            "STEP_FINISHED" => is_open(&self.steps, "stepName"),
            "TEXT_MESSAGE_END" => is_open(&self.messages, "messageId"),
            "TOOL_CALL_END" => is_open(&self.calls, "toolCallId"),
            "RUN_FINISHED" | "RUN_ERROR" => {
                assert!(self.steps.is_empty() && self.messages.is_empty() && self.calls.is_empty(), "open: {event}");
                self.is_over = true;
            }
            _ => {}
        }
        match event_type {
            "STEP_FINISHED" => self.steps.retain(|open| *open != event["stepName"]),
            "TEXT_MESSAGE_END" => self.messages.retain(|open| *open != event["messageId"]),
            "TOOL_CALL_END" => self.calls.retain(|open| *open != event["toolCallId"]),
            _ => {}
        }
    }
}

/// Reads the run to its end from each cursor, and checks the rules of the protocol.
fn check_from_every_cursor(events: &[(String, Value)]) {
    for cursor in 0..=events.len() {
        let (mut translation, mut connection) = (begin(), Connection::default());
        for (seq, (event_type, payload)) in (1..).zip(events) {
            if seq == cursor + 1 {
                values(&translation.prelude()).iter().for_each(|event| connection.take(event));
            }
            let of_event = translation.translate(&event(seq as u64, event_type, payload), &payload.to_string());
            assert!(!of_event.is_empty() || translation.end_before(seq as u64).is_some(), "{event_type} is lost");
            if seq > cursor {
                values(&of_event).iter().for_each(|event| connection.take(event));
            }
        }
    }
}

#[test]
fn a_run_of_the_agent_sdk_has_steps_and_tool_calls_with_arguments_and_results() {
    let run = translated(&[
        ("run_start", json!({"framework": "langgraph"})),
        ("step", json!({"node_name": "search", "phase": "start"})),
        ("tool_call", json!({"tool_name": "web", "phase": "start", "input_preview": "Zurich"})),
        ("tool_call", json!({"tool_name": "web", "phase": "end", "output_preview": "12 °C"})),
        ("tool_call", json!({"tool_name": "sum", "phase": "end", "input": {"a": 1}, "output": [2]})),
        ("step", json!({"node_name": "search", "phase": "end"})),
        ("step", json!({"node_name": "answer", "phase": "end"})),
        ("human_input_requested", json!({"question": "ok?", "question_id": "q"})),
        ("human_input_received", json!({"response": "yes"})),
        ("run_end", json!({"output": {"n": 12345678901234567890_u64}, "prompt_tokens": 2, "model": "m"})),
        ("step", json!({"node_name": "late", "phase": "start"})),
    ]);
    let shown: Vec<Vec<String>> = run.iter().map(|events| short(events)).collect();
    assert_eq!(
        shown,
        [
            vec!["STATE_SNAPSHOT running", "RAW"],
            vec!["STEP_STARTED search"],
            vec!["TOOL_CALL_START web", r#"TOOL_CALL_ARGS {"input_preview":"Zurich"}"#],
            vec!["TOOL_CALL_END call-3", "TOOL_CALL_RESULT 12 °C"],
            vec!["TOOL_CALL_START sum", r#"TOOL_CALL_ARGS {"a":1}"#, "TOOL_CALL_END call-5", "TOOL_CALL_RESULT [2]"],
            vec!["STEP_FINISHED search"],
            vec!["STEP_STARTED answer", "STEP_FINISHED answer"],
            vec!["STATE_SNAPSHOT awaiting_input", "RAW"],
            vec!["STATE_SNAPSHOT running", "RAW"],
            vec!["STATE_SNAPSHOT succeeded", "RUN_FINISHED"],
            vec![],
        ]
    );
    assert_eq!(run[7][0]["snapshot"]["pending_inputs"], json!([{"requested_seq": 8, "question_id": "q"}]));
    let usage = json!([{"model": "m", "inputTokens": 2, "outputTokens": 0, "totalTokens": 0}]);
    assert_eq!((&run[9][1]["result"]["n"], &run[9][1]["usage"]), (&json!(12345678901234567890_u64), &usage));
    assert_eq!(run[9][1].get("outcome"), None);
}

#[test]
fn a_public_run_has_tasks_as_steps_text_in_parts_and_results_after_the_end_of_a_call() {
    let progress = |kind: &str, more: Value| {
        let mut payload = json!({"task_id": "t", "kind": kind});
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("step.progress", payload)
    };
    let call = json!({"tool_call_id": "c", "tool_name": "find"});
    let run = translated(&[
        ("run.created", json!({})),
        progress("content_delta", json!({"content_delta": "One "})),
        progress("content_delta", json!({"content_delta": "two"})),
        progress("tool_call_start", call.clone()),
        progress("tool_call_done", call),
        (
            "run.tool.invoked",
            json!({"tool_call_id": "c", "tool_name": "find", "tool_output_summary": {"preview": "3 found"}}),
        ),
        ("step.done", json!({"task_id": "t", "content": "One two"})),
        ("step.done", json!({"task_id": "u", "content": "Whole"})),
        ("run.tool.invoked", json!({"tool_name": "f", "tool_input_summary": {"preview": "{\"q\":1}"}})),
        ("run.cancelled", json!({"to_status": "cancelled"})),
    ]);
    let shown: Vec<Vec<String>> = run.iter().map(|events| short(events)).collect();
    assert_eq!(
        shown,
        [
            vec!["STATE_SNAPSHOT queued", "RAW"],
            vec!["STEP_STARTED t", "TEXT_MESSAGE_START message-2", "TEXT_MESSAGE_CONTENT One"],
            vec!["TEXT_MESSAGE_CONTENT two"],
            vec!["TEXT_MESSAGE_END message-2", "TOOL_CALL_START find"],
            vec!["TOOL_CALL_END c"],
            vec!["TOOL_CALL_RESULT 3 found"],
            vec!["STEP_FINISHED t"],
            vec![
                "STEP_STARTED u",
                "TEXT_MESSAGE_START message-8",
                "TEXT_MESSAGE_CONTENT Whole",
                "TEXT_MESSAGE_END message-8",
                "STEP_FINISHED u",
            ],
            vec!["TOOL_CALL_START f", r#"TOOL_CALL_ARGS {"q":1}"#, "TOOL_CALL_END call-9", "TOOL_CALL_RESULT"],
            vec!["STATE_SNAPSHOT cancelled", "RUN_FINISHED"],
        ]
    );
    assert_eq!(run[9][1]["outcome"], json!({"type": "cancelled"}));
}

#[test]
fn a_tool_call_without_an_id_is_one_call_and_its_result_that_of_the_oldest_without_one() {
    let progress = |kind: &str| ("step.progress", json!({"task_id": "t", "kind": kind, "tool_name": "find"}));
    let invoked = |name: &str, preview: &str| {
        ("run.tool.invoked", json!({"tool_name": name, "tool_output_summary": {"preview": preview}}))
    };
    let run = translated(&[
        progress("tool_call_start"),
        progress("tool_call_start"),
        progress("tool_call_done"),
        progress("tool_call_done"),
        invoked("find", "one"),
        invoked("other", "none"),
        invoked("find", "two"),
        invoked("find", "three"),
    ]);
    let results: Vec<&Value> = run.iter().flatten().filter(|event| event["type"] == "TOOL_CALL_RESULT").collect();
    let results: Vec<_> = results.iter().map(|event| (&event["toolCallId"], &event["content"])).collect();
    let expected = [("call-1", "one"), ("call-6", "none"), ("call-2", "two"), ("call-8", "three")]
        .map(|(id, of)| (json!(id), json!(of)));
    assert_eq!(results, expected.each_ref().map(|(id, of)| (id, of)));
    assert_eq!(short(&run[4]), ["TOOL_CALL_RESULT one"], "nothing of the call is repeated");
    let begun = run.iter().flatten().filter(|event| event["type"] == "TOOL_CALL_START");
    assert_eq!(begun.count(), 4);
}

#[test]
fn a_structure_run_has_its_output_as_a_message_unless_its_text_came_in_parts() {
    let output = ("FinishStructureRunEvent", json!({"output_task_output": {"value": "Hello!"}}));
    let end = (
        "StructureRunCompleted",
        json!({"status": "FAILED", "status_detail": {"reason": "Error", "message": "exit 1"}}),
    );
    let run = translated(&[("StructureRunRunning", json!({})), output.clone(), ("Custom", json!(1)), end]);
    let shown: Vec<Vec<String>> = run.iter().map(|events| short(events)).collect();
    assert_eq!(
        shown,
        [
            vec!["STATE_SNAPSHOT running", "RAW"],
            vec!["TEXT_MESSAGE_START message-2", "TEXT_MESSAGE_CONTENT Hello!", "TEXT_MESSAGE_END message-2"],
            vec!["RAW"],
            vec!["STATE_SNAPSHOT failed", "RUN_ERROR exit 1"],
        ]
    );
    let run = translated(&[
        ("StartTaskEvent", json!({"task_id": "t"})),
        ("TextChunkEvent", json!({"token": "Hel"})),
        ("TextChunkEvent", json!({"token": "lo!"})),
        ("FinishPromptEvent", json!({})),
        ("FinishTaskEvent", json!({"task_id": "t"})),
        output,
    ]);
    let shown: Vec<Vec<String>> = run.iter().map(|events| short(events)).collect();
    assert_eq!(
        shown,
        [
            vec!["STEP_STARTED t"],
            vec!["TEXT_MESSAGE_START message-2", "TEXT_MESSAGE_CONTENT Hel"],
            vec!["TEXT_MESSAGE_CONTENT lo!"],
            vec!["TEXT_MESSAGE_END message-2"],
            vec!["STEP_FINISHED t"],
            vec!["RAW"],
        ]
    );
}

#[test]
fn a_failure_has_the_message_and_the_code_that_its_type_has_for_them() {
    for (event_type, payload, message, code) in [
        ("error", json!({"error_type": "ValueError", "error_message": "too many"}), "too many", "ValueError"),
        ("StructureRunError", json!({"status_detail": {"error": "no memory"}}), "no memory", "StructureRunError"),
        ("run.worker.failed", json!({"reason_code": "STEP_FAILED"}), "STEP_FAILED", "STEP_FAILED"),
        ("run.limit_exceeded", json!({"limitType": "duration_ms"}), "duration_ms", "duration_ms"),
        ("error", json!("text"), "error", "error"),
    ] {
        let run = translated(&[(event_type, payload)]);
        let end = run[0].last().unwrap();
        assert_eq!((&end["message"], &end["code"]), (&json!(message), &json!(code)), "{event_type}");
    }
}

#[test]
fn what_is_open_is_bounded_and_the_oldest_is_closed_first() {
    let mut events = Vec::new();
    for n in 0..3 * MAX_OPEN {
        let name = format!("{n} {}", "x".repeat(500));
        events.push(("step".to_owned(), json!({"node_name": name, "phase": "start"})));
        events.push(("tool_call".to_owned(), json!({"tool_name": name, "phase": "start"})));
        events.push((
            "step.progress".to_owned(),
            json!({"task_id": name, "kind": "content_delta", "content_delta": "text"}),
        ));
        let call = json!({"task_id": "t", "kind": "tool_call_done", "tool_call_id": n});
        events.push(("step.progress".to_owned(), call));
    }
    let mut translation = begin();
    for (seq, (event_type, payload)) in (1..).zip(&events) {
        translation.translate(&event(seq, event_type, payload), &payload.to_string());
    }
    let prelude = values(&translation.prelude());
    // The call that ends at once took the place of the oldest open one.
    assert_eq!(prelude.len(), 2 + 3 * MAX_OPEN - 1);
    assert!(prelude.iter().all(|event| event.to_string().len() < 500), "{prelude:?}");
    events.truncate(events.len() / 2);
    check_from_every_cursor(&events);
}

#[test]
fn a_reader_behind_the_end_begins_with_the_run_and_has_its_end_again() {
    let mut translation = begin();
    for (seq, event_type) in [(1, "run_start"), (2, "error"), (3, "step")] {
        translation.translate(&event(seq, event_type, &json!({})), "{}");
    }
    assert_eq!(short(&values(&translation.prelude())), ["RUN_STARTED", "STATE_SNAPSHOT failed"]);
    assert!(translation.end_before(2).is_none());
    assert!(matches!(translation.end_before(3), Some(AgUiEvent::RunError { .. })));
}

fn any_event() -> impl Strategy<Value = (String, Value)> {
    let name = prop::sample::select(vec!["a", "b", "call-2"]);
    let word = |words: &[&str]| prop::sample::select(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let event_type = word(&[
        "step",
        "tool_call",
        "step.progress",
        "step.progress",
        "step.done",
        "run.tool.invoked",
        "StartTaskEvent",
        "FinishTaskEvent",
        "TextChunkEvent",
        "FinishPromptEvent",
        "FinishStructureRunEvent",
        "human_input_requested",
        "human_input_received",
        "run_start",
        "note",
    ]);
    let kind = word(&["content_delta", "tool_call_start", "tool_call_done", "other"]);
    let phase = word(&["start", "end", "other"]);
    (event_type, name, kind, phase, any::<bool>()).prop_map(|(event_type, name, kind, phase, has_id)| {
        let mut payload = json!({
            "node_name": name, "tool_name": name, "task_id": name, "kind": kind, "phase": phase, "content_delta": name,
            "content": name, "token": name, "output_preview": name, "input_preview": name, "output_task_output": name,
        });
        if has_id {
            payload["tool_call_id"] = json!(name);
        }
        (event_type, payload)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_from_any_cursor_of_any_run_reads_what_the_protocol_allows(
        mut events in prop::collection::vec(any_event(), 0..30), end in r"run_end|error|run\.cancelled|note", late: bool,
    ) {
        events.push((end, json!({})));
        if late {
            events.push(("step".to_owned(), json!({"node_name": "late", "phase": "start"})));
        }
        check_from_every_cursor(&events);
    }
}
