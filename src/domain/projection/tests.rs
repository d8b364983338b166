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
        sent_seconds: None,
        recorded_at: at,
        agent_name: None,
        payload: Payload::from_stored(payload),
        removal: None,
        joined_from: None,
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
fn a_completion_with_a_word_that_nobody_knows_has_failed_unless_the_exit_code_says_otherwise() {
    use RunStatus::{Failed, Succeeded};
    for (payload, expected) in [
        (r#"{"status":"EXPLODED"}"#, Failed),
        (r#"{"status":"EXPLODED","status_detail":{"reason":"x"}}"#, Failed),
        (r#"{"status":"RUNNING"}"#, Failed),
        (r#"{"status":7}"#, Failed),
        (r#"{"status":"EXPLODED","status_detail":{"exit_code":0}}"#, Succeeded),
        (r#"{"status":"EXPLODED","status_detail":{"exit_code":"0"}}"#, Succeeded),
        (r#"{"status":"EXPLODED","exit_code":"1"}"#, Failed),
        (r#"{"status_detail":{"exit_code":"137"}}"#, Failed),
        (r#"{"status":"FAILED","exit_code":0}"#, Failed),
        (r#"{"status":null}"#, Succeeded),
        ("{}", Succeeded),
    ] {
        let (run, documents) = play(&[("StructureRunCompleted", payload)]);
        assert_eq!(run.status, expected, "{payload}");
        let is_known = documents.error_json.is_some_and(|error| error.contains("EXPLODED"));
        assert_eq!(is_known, expected == Failed && payload.contains("EXPLODED"), "{payload}");
    }
}

#[test]
fn what_comes_after_the_end_of_a_run_changes_nothing_of_it() {
    let end = ("run_end", r#"{"output":1,"total_tokens":3}"#);
    let (ended, documents) = play(&[end]);
    let late = [
        end,
        ("run_end", r#"{"output":2,"total_tokens":4,"model":"m"}"#),
        ("error", r#"{"e":1}"#),
        ("run_start", "{}"),
        ("FinishStructureRunEvent", r#"{"output_task_output":5}"#),
        ("StructureRunCompleted", r#"{"status":"FAILED","status_detail":{"a":1}}"#),
        ("human_input_requested", r#"{"question":"?"}"#),
    ];
    let (run, documents_after) = play(&late);
    assert_eq!((run.last_seq, run.updated_at.as_second()), (7, 1_700_000_007));
    assert_eq!(Run { last_seq: ended.last_seq, updated_at: ended.updated_at, ..run }, ended);
    assert_eq!(documents_after, documents);
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

/// Seqs of the open questions, in the cached run and in the returned changes.
fn open(events: &[(&str, &str)]) -> Vec<u64> {
    let (run, documents) = play(events);
    let known: Vec<u64> = run.pending_inputs.iter().map(|question| question.requested_seq).collect();
    let opened = |change: &QuestionChange| matches!(change, QuestionChange::Opened(_));
    let mut stored: Vec<u64> = documents
        .questions
        .iter()
        .filter(|change| opened(change))
        .map(|change| change.question().requested_seq)
        .collect();
    stored.sort_unstable();
    assert_eq!(stored, known);
    known
}

#[test]
fn a_question_is_kept_until_it_is_answered() {
    let ask = ("human_input_requested", r#"{"question":"Deploy?","context":{"n": 5},"channel":"slack"}"#);
    let (run, documents) = play(&[ask, ("step", "{}"), ("run.worker.stalled", "{}")]);
    let pending = documents.questions[0].question().clone();
    assert_eq!((pending.question.as_str(), pending.requested_seq), ("Deploy?", 1));
    assert_eq!(pending.context_json, r#"{"n": 5}"#);
    assert_eq!(run.pending_inputs, [pending.reference()]);
    for answer in ["human_input_received", "run.signal_applied", "run.input_received", "run_end"] {
        assert_eq!(open(&[ask, (answer, "{}")]), [0; 0], "{answer}");
    }
    let (run, _) = play(&[("run.awaiting_input", r#"{"reason_code":"A"}"#), ("run.signal_applied", "{}")]);
    assert_eq!(run.status, RunStatus::AwaitingInput, "the status waits for run.resumed");
}

#[test]
fn all_open_questions_of_a_run_fit_into_one_answer_and_the_words_of_each_are_bounded() {
    let long = |unit: &str| unit.repeat(5_000);
    let payload = |context: &str| {
        let words =
            ["question", "channel", "reason_code", "input_kind"].map(|name| format!(r#""{name}":"{}""#, long("é")));
        format!(r#"{{{},"context":"{context}"}}"#, words.join(","))
    };
    let asked = payload(&"c".repeat(16_000));
    let (_, documents) = play(&vec![("human_input_requested", asked.as_str()); MAX_OPEN_QUESTIONS + 1]);
    assert_eq!(documents.questions.len(), MAX_OPEN_QUESTIONS);
    let bytes = |change: &QuestionChange| serde_json::to_string(change.question()).unwrap().len();
    let all: usize = documents.questions.iter().map(bytes).sum();
    assert!(all < 4 << 20, "{all}");
    let question = documents.questions[0].question();
    assert_eq!((question.question.chars().count(), question.channel.chars().count()), (2_000, 200));
    assert_eq!(question.context_json.len(), 16_002);
    let (_, documents) = play(&[("human_input_requested", &payload(&long("long")))]);
    assert_eq!(documents.questions[0].question().context_json, "", "no JSON is cut off");
}

#[test]
fn the_name_of_a_model_is_bounded() {
    let (run, _) = play(&[("run_end", &format!(r#"{{"model":"{}"}}"#, "m".repeat(1_000)))]);
    assert_eq!(run.usage.unwrap().model.len(), 200);
}

#[test]
fn questions_queue_and_an_answer_closes_the_one_that_it_names_or_the_oldest() {
    let ask = |name: &'static str| ("human_input_requested", name);
    let (a, b) = (ask(r#"{"question":"a?","question_id":"a"}"#), ask(r#"{"question":"b?","input_id":"b"}"#));
    let answered = |answer: &'static str| open(&[a, b, ask(r#"{"question":"c?"}"#), ("human_input_received", answer)]);
    assert_eq!(answered("{}"), [2, 3]);
    assert_eq!(answered(r#"{"question_id":"b"}"#), [1, 3]);
    assert_eq!(answered(r#"{"input_id":"b"}"#), [1, 3]);
    assert_eq!(answered(r#"{"id":"b"}"#), [1, 3]);
    assert_eq!(answered(r#"{"requested_seq":3}"#), [1, 2]);
    // A correlation id without an open question is ignored; a question's own id never closes another question.
    assert_eq!(answered(r#"{"request_id":"req_1"}"#), [2, 3]);
    assert_eq!(answered(r#"{"question_id":"z"}"#), [1, 2, 3]);
    assert_eq!(answered(r#"{"requested_seq":4}"#), [1, 2, 3]);
    let one = ("human_input_received", r#"{"question_id":"a"}"#);
    assert_eq!(status_after(&[a, b, one]), RunStatus::AwaitingInput, "the run waits until none is open");
    assert_eq!(status_after(&[a, b, one, one]), RunStatus::AwaitingInput, "a second answer answers no other question");
    assert_eq!(status_after(&[a, b, one, ("human_input_received", "{}")]), RunStatus::Running);
    assert_eq!(open(&[a, b, ("run_end", "{}")]), [0; 0]);
}

#[test]
fn a_question_that_is_no_string_is_shown_as_its_json_text() {
    for (sent, shown) in [
        (r#"{"question":{"title": "Deploy?"}}"#, r#"{"title": "Deploy?"}"#),
        (r#"{"question":["a"]}"#, r#"["a"]"#),
        (r#"{"question":7}"#, "7"),
        (r#"{"question":null}"#, ""),
    ] {
        let (_, documents) = play(&[("human_input_requested", sent)]);
        assert_eq!(documents.questions[0].question().question, shown);
    }
}

#[test]
fn no_more_than_a_hundred_questions_of_a_run_are_open() {
    let asked = vec![("human_input_requested", "{}"); MAX_OPEN_QUESTIONS + 5];
    assert_eq!(open(&asked).len(), MAX_OPEN_QUESTIONS);
}

#[test]
fn a_lone_surrogate_hides_nothing_of_a_run() {
    let (_, documents) = play(&[("human_input_requested", r#"{"question":"Deploy the build now? \ud83d"}"#)]);
    assert_eq!(documents.questions[0].question().question, "Deploy the build now? \u{fffd}");
    let (run, documents) =
        play(&[("run_end", r#"{"output":{"answer":42},"total_tokens":195,"\ud83d":1,"model":"m\udc00"}"#)]);
    assert_eq!(documents.output_json.as_deref(), Some(r#"{"answer":42}"#));
    let usage = run.usage.unwrap();
    assert_eq!((usage.total_tokens, usage.model.as_str()), (195, "m\u{fffd}"));
}

#[test]
fn the_output_is_the_text_as_sent() {
    let end = r#"{"output":{"b":1, "a":12345678901234567890123},"prompt_tokens":150,"cost_usd":0.5,"model":"m"}"#;
    let (run, documents) = play(&[("run_end", end)]);
    assert_eq!(documents.output_json.as_deref(), Some(r#"{"b":1, "a":12345678901234567890123}"#));
    let expected =
        Usage { prompt_tokens: 150, completion_tokens: 0, total_tokens: 0, cost_usd: 0.5, model: "m".into() };
    assert_eq!(run.usage, Some(expected));
}

#[test]
fn whole_numbers_in_any_form_count_as_usage_and_nothing_else_does() {
    let total = |value: &str| play(&[("run_end", &format!(r#"{{"total_tokens":{value}}}"#))]).0.usage;
    for (value, count) in [
        ("150", 150),
        ("150.0", 150),
        ("1.5e2", 150),
        ("\"150\"", 150),
        ("\" 150.0 \"", 150),
        ("0", 0),
        ("18446744073709551615", u64::MAX),
    ] {
        assert_eq!(total(value).map(|usage| usage.total_tokens), Some(count), "{value}");
    }
    for value in
        ["-1", "1.5", "1e30", "1e999", "null", "true", "\"many\"", "\"inf\"", "\"\"", "[1]", "18446744073709551616"]
    {
        assert_eq!(total(value), None, "{value}");
    }
    let cost =
        |value: &str| play(&[("run_end", &format!(r#"{{"cost_usd":{value}}}"#))]).0.usage.map(|usage| usage.cost_usd);
    assert_eq!((cost("0.25"), cost("\"0.25\""), cost("2")), (Some(0.25), Some(0.25), Some(2.0)));
    assert_eq!((cost("-0.25"), cost("\"NaN\""), cost("{}")), (None, None, None));
    assert_eq!(play(&[("run_end", "{}")]).0.usage, None);
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
fn a_structure_run_lasts_from_when_to_when_its_runtime_says() {
    let completed = r#"{"status":"SUCCEEDED","started_at":"2024-09-11T23:15:47","completed_at":"2024-09-11T23:15:50"}"#;
    let running = ("StructureRunRunning", r#"{"started_at":"2024-09-11T23:15:47"}"#);
    for events in [&[running, ("StructureRunCompleted", completed)][..], &[("StructureRunCompleted", completed)]] {
        let (run, _) = play(events);
        assert_eq!(run.started_at.unwrap().to_string(), "2024-09-11T23:15:47Z");
        assert_eq!(run.completed_at.unwrap().to_string(), "2024-09-11T23:15:50Z");
    }
    // An invalid time is ignored, and the times of the events count.
    let odd = r#"{"status":"SUCCEEDED","started_at":"soon","completed_at":5}"#;
    let (run, _) = play(&[("StructureRunRunning", "{}"), ("StructureRunCompleted", odd)]);
    assert_eq!((run.started_at.unwrap().as_second(), run.completed_at.unwrap().as_second()), {
        (1_700_000_001, 1_700_000_002)
    });
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
