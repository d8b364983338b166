//! Promise 7 for undocumented payloads: the stored text equals the sent text.

use runlog::pb;
use runlog::pb::payload::Variant;
use runlog::transport::payload::to_typed;

use crate::builders::{json_event, typed_event};
use crate::harness::TestServer;
use crate::reading::{follow_run, json_of, list_run};
use crate::refusal::refused_field;

/// JSON texts that a parser and a serializer would change.
const TEXTS: [&str; 14] = [
    "null",
    "true",
    "\"text\"",
    "[]",
    "{}",
    " {\t\"b\" : 1 ,\n\"a\":[ ] } ",
    r#"{"big":123456789012345678901234567890,"max":18446744073709551615,"over":18446744073709551616}"#,
    r#"{"n":1.0,"e":1e3,"E":1E+3,"z":-0,"zz":-0.0,"huge":1e999,"long":0.1000000000000000055511151231257827}"#,
    r#"{"z":1,"a":2,"m":{"y":1,"b":2}}"#,
    r#"{"twice":1,"twice":2}"#,
    r#"{"nul":"\u0000","escaped":"\u0041\/","key\u0000":1}"#,
    r#"{"lone":"\ud800","\udc00":"low"}"#,
    r#"{"text":"é 漢字 🙂 \" \\"}"#,
    r#"{"absent":null}"#,
];

async fn texts(server: &TestServer, run_id: &str) -> Vec<String> {
    let page = server.list(list_run(run_id)).await.unwrap();
    let mut reader = server.subscribe(follow_run(run_id)).await;
    let (followed, _) = reader.replay().await;
    assert_eq!(followed, page.events);
    page.events.iter().map(|event| json_of(event).to_owned()).collect()
}

#[tokio::test]
async fn any_json_is_kept_byte_for_byte_whatever_its_type() {
    let mut server = TestServer::start().await;
    // A custom type, and documented types whose typed payload cannot hold such a text.
    let types = ["my.own", "run_end", "run.tool.invoked", "run.worker.started", "StructureRunCompleted", "error"];
    for event_type in types {
        server.publish(event_type, TEXTS.map(|text| json_event(event_type, text)).into()).await;
        assert_eq!(texts(&server, event_type).await, TEXTS);
    }
    server.restart().await;
    for event_type in types {
        assert_eq!(texts(&server, event_type).await, TEXTS, "after a restart");
    }
}

#[tokio::test]
async fn the_typed_view_of_any_json_can_be_published_again_without_a_change() {
    let server = TestServer::start().await;
    for event_type in ["my.own", "run_end", "run.created", "tool_call"] {
        server.publish(event_type, TEXTS.map(|text| json_event(event_type, text)).into()).await;
        let typed = pb::ListEventsRequest { payload_format: pb::PayloadFormat::Typed.into(), ..list_run(event_type) };
        for (event, text) in server.list(typed).await.unwrap().events.iter().zip(TEXTS) {
            assert_eq!(event.payload.as_ref().unwrap(), &to_typed(event_type, text), "{event_type} {text}");
            let again =
                pb::NewEvent { r#type: event_type.to_owned(), payload: event.payload.clone(), ..Default::default() };
            server.publish(&format!("{event_type}-again"), vec![again]).await;
        }
        let again = texts(&server, &format!("{event_type}-again")).await;
        for (again, text) in again.iter().zip(TEXTS) {
            assert_eq!(to_typed(event_type, again), to_typed(event_type, text), "{event_type}: {again} for {text}");
        }
    }
}

#[tokio::test]
async fn null_is_not_absent() {
    let server = TestServer::start().await;
    let sent = [r#"{"reason_code":null}"#, "{}", r#"{"reason_code":""}"#];
    server.publish("r", sent.map(|text| json_event("run.worker.stalled", text)).into()).await;
    assert_eq!(texts(&server, "r").await, sent);
    let typed = pb::ListEventsRequest { payload_format: pb::PayloadFormat::Typed.into(), ..list_run("r") };
    let events = server.list(typed).await.unwrap().events;
    let views = events.iter().map(|event| match event.payload.clone().unwrap() {
        pb::Payload { extra_json, variant: Some(Variant::StatusTransition(transition)) } => {
            (transition.reason_code, extra_json)
        }
        other => panic!("{other:?}"),
    });
    let null = (None, r#"{"reason_code":null}"#.to_owned());
    assert_eq!(views.collect::<Vec<_>>(), [null, (None, String::new()), (Some(String::new()), String::new())]);
}

#[tokio::test]
async fn what_a_variant_does_not_model_travels_in_extra_json() {
    let server = TestServer::start().await;
    let run_end = pb::RunEnd { prompt_tokens: Some(u64::MAX), ..Default::default() };
    let payload = pb::Payload {
        extra_json: r#"{"total_tokens":1e2,"mine":{"x":[null]}}"#.to_owned(),
        variant: Some(Variant::RunEnd(run_end.into())),
    };
    server.publish("r", vec![pb::NewEvent { payload: Some(payload.clone()), ..Default::default() }]).await;
    let stored = r#"{"prompt_tokens":18446744073709551615,"total_tokens":1e2,"mine":{"x":[null]}}"#;
    assert_eq!(texts(&server, "r").await, [stored]);
    let typed = pb::ListEventsRequest { payload_format: pb::PayloadFormat::Typed.into(), ..list_run("r") };
    assert_eq!(server.list(typed).await.unwrap().events[0].payload, Some(payload));
}

#[tokio::test]
async fn an_event_without_a_payload_has_an_empty_one() {
    let server = TestServer::start().await;
    let bare = |r#type: &str| pb::NewEvent { r#type: r#type.to_owned(), ..Default::default() };
    server.publish("r", vec![bare("mine"), bare("step"), typed_event(Variant::Step(Box::default()))]).await;
    assert_eq!(texts(&server, "r").await, ["{}", "{}", "{}"]);
}

#[tokio::test]
async fn a_payload_of_exactly_1_mib_is_stored_and_one_byte_more_is_refused() {
    let server = TestServer::start().await;
    let text = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    let refusal = server.try_publish("r", vec![json_event("big", &text((1 << 20) + 1))]).await;
    let refusal = refused_field(refusal, "events[0].payload");
    assert!(refusal.message.contains("1048576 bytes"), "{}", refusal.message);
    assert!(server.everything().await.is_empty(), "nothing of it was stored");
    server.publish("r", vec![json_event("big", &text(1 << 20)), json_event("big", &text(1 << 20))]).await;
    assert_eq!(texts(&server, "r").await, [text(1 << 20), text(1 << 20)]);
}

#[tokio::test]
async fn a_page_of_large_events_ends_early_and_goes_on() {
    let server = TestServer::start().await;
    let text = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    for _ in 0..7 {
        server.publish("r", vec![json_event("big", &text)]).await;
    }
    let mut request = list_run("r");
    let mut pages = Vec::new();
    loop {
        let page = server.list(request.clone()).await.unwrap();
        request.cursor = page.next_cursor;
        pages.push(page.events.len());
        if !page.has_more {
            break;
        }
    }
    assert_eq!(pages.iter().sum::<usize>(), 7);
    assert!(pages.iter().all(|count| (1..=3).contains(count)), "under the 4 MiB that clients take: {pages:?}");
}
