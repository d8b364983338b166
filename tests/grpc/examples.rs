//! Promise 7 for every example of the three API references: payloads are neither lost nor changed, whichever API takes
//! them in or returns them, and across restarts of the server.

use std::fs;
use std::path::Path;

use runlog::pb;
use runlog::pb::payload::Variant;
use runlog::transport::payload::to_typed;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::builders::json_event;
use crate::harness::TestServer;
use crate::reading::{Received, follow_run, json_of, list_run};

#[derive(Deserialize)]
struct Example {
    r#type: String,
    payload: Box<RawValue>,
    agent_name: Option<String>,
    timestamp: Option<Value>,
}

/// The fixtures in alphabetical order.
fn examples() -> Vec<Example> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/examples");
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let examples: Vec<Example> =
        paths.iter().map(|path| serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()).collect();
    assert_eq!(examples.len(), 28, "one for each documented type, and the user event that gives the output");
    examples
}

fn occurred_at(timestamp: &Value) -> prost_types::Timestamp {
    let at: jiff::Timestamp = match timestamp {
        Value::String(text) => text.parse().unwrap(),
        number => {
            let micros = format!("{:.0}", number.as_f64().unwrap() * 1e6);
            jiff::Timestamp::from_microsecond(micros.parse().unwrap()).unwrap()
        }
    };
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

fn as_json(at: usize, example: &Example) -> pb::NewEvent {
    pb::NewEvent {
        event_id: format!("example-{at}"),
        occurred_at: example.timestamp.as_ref().map(occurred_at),
        agent_name: example.agent_name.clone().unwrap_or_default(),
        ..json_event(&example.r#type, example.payload.get())
    }
}

fn as_typed(at: usize, example: &Example) -> pb::NewEvent {
    pb::NewEvent { payload: Some(to_typed(&example.r#type, example.payload.get())), ..as_json(at, example) }
}

/// The payload without key order and white space between tokens.
fn meaning(payload: &pb::Payload) -> Value {
    match &payload.variant {
        Some(Variant::Json(json)) => serde_json::from_str(json).unwrap(),
        other => panic!("asked for JSON, got {other:?}"),
    }
}

/// Compares an event with the sent event, apart from `recorded_at`.
fn assert_is(event: &pb::Event, at: usize, sent: &pb::NewEvent, run_id: &str) {
    assert_eq!((event.run_id.as_str(), event.seq), (run_id, at as u64 + 1));
    assert_eq!((&event.event_id, &event.r#type), (&sent.event_id, &sent.r#type));
    assert_eq!(event.agent_name, sent.agent_name);
    assert!(event.recorded_at.is_some() && !event.redacted);
    assert_eq!(event.occurred_at, sent.occurred_at.or(event.recorded_at), "{}", event.r#type);
    let lifecycle = ["StructureRunStarting", "StructureRunRunning", "StructureRunCompleted", "StructureRunError"];
    let is_system = lifecycle.contains(&event.r#type.as_str()) || event.r#type.starts_with("run.");
    let origin = if is_system { pb::Origin::System } else { pb::Origin::User };
    assert_eq!(event.origin(), origin, "{}", event.r#type);
}

async fn read(server: &TestServer, run_id: &str, format: pb::PayloadFormat) -> Vec<pb::Event> {
    let list = pb::ListEventsRequest { payload_format: format.into(), ..list_run(run_id) };
    let page = server.list(list).await.unwrap();
    assert!(!page.has_more);
    let follow = pb::SubscribeRequest { payload_format: format.into(), ..follow_run(run_id) };
    let mut reader = server.subscribe(follow).await;
    let (followed, _) = reader.replay().await;
    assert_eq!(followed, page.events, "one event is the same in a page and in a frame");
    assert!(matches!(reader.rest().await[..], [Received::Ended(..)]));
    followed
}

async fn assert_all_come_back(server: &TestServer, examples: &[Example]) {
    for (run_id, typed) in [("as-json", false), ("as-typed", true)] {
        let as_text = read(server, run_id, pb::PayloadFormat::Json).await;
        let as_variants = read(server, run_id, pb::PayloadFormat::Typed).await;
        assert_eq!((as_text.len(), as_variants.len()), (28, 28));
        for (at, example) in examples.iter().enumerate() {
            let sent = as_json(at, example);
            let (text, variant) = (&as_text[at], &as_variants[at]);
            assert_is(text, at, &sent, run_id);
            assert_is(variant, at, &sent, run_id);
            assert_eq!(variant.payload, as_typed(at, example).payload, "{}", example.r#type);
            let payload = text.payload.as_ref().unwrap();
            assert_eq!(meaning(payload), serde_json::from_str::<Value>(example.payload.get()).unwrap());
            if !typed {
                assert_eq!(json_of(text), example.payload.get(), "byte for byte");
            }
        }
    }
}

#[tokio::test]
async fn every_documented_event_comes_back_typed_and_as_json_also_after_a_restart() {
    let examples = examples();
    let mut server = TestServer::start().await;
    let numbered = || examples.iter().enumerate();
    server.publish("as-json", numbered().map(|(at, example)| as_json(at, example)).collect()).await;
    server.publish("as-typed", numbered().map(|(at, example)| as_typed(at, example)).collect()).await;
    assert_all_come_back(&server, &examples).await;
    let before = server.everything().await;
    server.restart().await;
    assert_all_come_back(&server, &examples).await;
    assert_eq!(server.everything().await, before, "also the times and the order of commits");
}

#[tokio::test]
async fn every_documented_event_is_a_duplicate_when_it_is_sent_again_in_the_other_form() {
    let examples = examples();
    let server = TestServer::start().await;
    for (at, example) in examples.iter().enumerate() {
        let run_id = format!("run-{at}");
        // The stored form of the typed payloads is sent as JSON afterwards.
        server.publish(&run_id, vec![as_typed(at, example)]).await;
        let page = server.list(list_run(&run_id)).await.unwrap();
        let again = pb::NewEvent { payload: page.events[0].payload.clone(), ..as_json(at, example) };
        let answer = server.publish(&run_id, vec![again]).await;
        assert!(answer.events[0].duplicate, "{}", example.r#type);
        assert_eq!(answer.events[0].seq, 1);
    }
}
