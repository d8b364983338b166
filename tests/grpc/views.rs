//! Views: PUBLIC leaves out data of clients, at the top level only; FULL has all data.

use runlog::pb;
use runlog::pb::payload::Variant;
use runlog::pb::{EventView, PayloadFormat};
use runlog::transport::payload::to_typed;

use crate::builders::json_event;
use crate::harness::TestServer;
use crate::reading::{follow_all_runs, follow_run, json_of, list_all_runs, list_run};

/// Type, sent payload, and public payload.
const CASES: [(&str, &str, &str); 9] = [
    ("run_start", r#"{"framework":"x","input":{"q":1}}"#, r#"{"framework":"x"}"#),
    ("note", r#"{"a":1}"#, r#"{"a":1}"#),
    (
        "run.created",
        r#"{"request_id":"u","input":1,"metadata":{},"attachment_refs":[],"sensitivity_tags":["s"],"routing":{"x":1}}"#,
        r#"{"request_id":"u","routing":{"x":1}}"#,
    ),
    (
        "my.own",
        r#" { "b" : 1.0 , "input" : null , "a":12345678901234567890 } "#,
        r#" { "b" : 1.0 , "a":12345678901234567890 } "#,
    ),
    ("my.own", r#"{"nested":{"input":1,"metadata":2}}"#, r#"{"nested":{"input":1,"metadata":2}}"#),
    ("my.own", r#"{"\u0069nput":1,"Input":2}"#, r#"{"Input":2}"#),
    ("my.own", r#"{"metadata":1}"#, "{}"),
    ("my.own", r#"[{"input":1}]"#, r#"[{"input":1}]"#),
    ("step", r#"{"phase":"end","input":[1],"output":{"input":1}}"#, r#"{"phase":"end","output":{"input":1}}"#),
];

/// The events by list and by subscription, of the run and of all runs; all four must be equal.
async fn read(server: &TestServer, view: EventView, format: PayloadFormat) -> Vec<pb::Event> {
    let (view, payload_format) = (view.into(), format.into());
    let mut answers = Vec::new();
    for scope in [list_run("r"), list_all_runs()] {
        for descending in [false, true] {
            let request = pb::ListEventsRequest { view, payload_format, descending, ..scope.clone() };
            let mut events = server.list(request).await.unwrap().events;
            if descending {
                events.reverse();
            }
            answers.push(events);
        }
    }
    for scope in [follow_run("r"), follow_all_runs()] {
        for max_batch in [0, 1] {
            let request = pb::SubscribeRequest { view, payload_format, max_batch, ..scope.clone() };
            answers.push(server.subscribe(request).await.replay().await.0);
        }
    }
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    answers.swap_remove(0)
}

fn assert_seen(events: &[pb::Event], view: EventView, format: PayloadFormat) {
    assert_eq!(events.len(), CASES.len());
    for (event, (event_type, sent, public)) in events.iter().zip(CASES) {
        let is_public = view != EventView::Full;
        let expected = if is_public { public } else { sent };
        assert_eq!(event.redacted, is_public && sent != public, "{sent}");
        if format == PayloadFormat::Json {
            assert_eq!(json_of(event), expected);
        } else {
            assert_eq!(event.payload, Some(to_typed(event_type, expected)), "{expected}");
        }
    }
}

#[tokio::test]
async fn the_public_view_leaves_out_the_four_members_and_says_so_and_the_full_view_gives_all() {
    let mut server = TestServer::start().await;
    server.publish("r", CASES.map(|(event_type, sent, _)| json_event(event_type, sent)).into()).await;
    for _ in 0..2 {
        for view in [EventView::Unspecified, EventView::Public, EventView::Full] {
            for format in [PayloadFormat::Unspecified, PayloadFormat::Typed, PayloadFormat::Json] {
                assert_seen(&read(&server, view, format).await, view, format);
            }
        }
        server.restart().await;
    }
}

#[tokio::test]
async fn live_readers_of_all_views_and_formats_share_events_and_each_sees_its_own() {
    let server = TestServer::start().await;
    let mut readers = Vec::new();
    for view in [EventView::Public, EventView::Full] {
        for format in [PayloadFormat::Typed, PayloadFormat::Json] {
            for _ in 0..2 {
                let (wait_for_run, view_number, payload_format) = (true, view.into(), format.into());
                let request =
                    pb::SubscribeRequest { wait_for_run, view: view_number, payload_format, ..follow_run("r") };
                let mut reader = server.subscribe(request).await;
                assert_eq!(reader.replay().await.1, 0);
                readers.push((view, format, reader));
            }
        }
    }
    server.publish("r", CASES.map(|(event_type, sent, _)| json_event(event_type, sent)).into()).await;
    for (view, format, mut reader) in readers {
        assert_seen(&reader.events(CASES.len()).await, view, format);
    }
}

#[tokio::test]
async fn typed_variants_of_the_public_view_have_their_fields_absent() {
    let server = TestServer::start().await;
    server.publish("r", vec![json_event("run_start", CASES[0].1)]).await;
    let seen = read(&server, EventView::Public, PayloadFormat::Typed).await;
    let start = pb::RunStart { framework: Some("x".to_owned()), input_json: None };
    let payload = pb::Payload { extra_json: String::new(), variant: Some(Variant::RunStart(start.into())) };
    assert_eq!((seen[0].redacted, seen[0].payload.as_ref()), (true, Some(&payload)));
}
