//! Promises 8 and 9: each limit is refused with the field's name, and nothing of the request is stored.

use runlog::pb;
use runlog::pb::payload::Variant;

use crate::builders::{json_event, notes, numbered, typed_event, with_id};
use crate::harness::TestServer;
use crate::reading::{follow_run, list_run};
use crate::refusal::refused_field;

async fn assert_refused(server: &TestServer, events: Vec<pb::NewEvent>, field: &str) {
    refused_field(server.try_publish("r", events).await, field);
    assert!(server.everything().await.is_empty(), "{field}: nothing is stored");
}

fn with_extra(extra_json: &str, variant: Option<Variant>) -> pb::NewEvent {
    let payload = pb::Payload { extra_json: extra_json.to_owned(), variant };
    pb::NewEvent { r#type: "step".to_owned(), payload: Some(payload), ..Default::default() }
}

#[tokio::test]
async fn a_run_id_is_1_to_200_characters_without_control_characters() {
    let server = TestServer::start().await;
    for bad in ["", "a\n", "\0", "\u{7f}", "\u{9f}", &"é".repeat(201), &"x".repeat(201), &"x".repeat(3 << 20)] {
        refused_field(server.try_publish(bad, notes(1)).await, "run_id");
        refused_field(server.list(list_run(bad)).await, "run_id");
        refused_field(server.try_subscribe(follow_run(bad)).await, "run_id");
    }
    assert!(server.everything().await.is_empty());
    for good in ["r", "!~/\\\"'%", "a b", " ", "é", "e\u{301}", "\u{202e}שלום", &"x".repeat(200), &"🦀".repeat(200)]
    {
        server.publish(good, notes(1)).await;
        assert_eq!(server.list(list_run(good)).await.unwrap().events[0].run_id, good);
        // Any text in the error must survive the encoding of the trailers.
        let other = format!("{}Z", good.chars().skip(1).collect::<String>());
        let status = server.list(list_run(&other)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::NotFound);
        assert!(status.message().contains(&format!("{other:?}")), "{}", status.message());
    }
}

#[tokio::test]
async fn names_of_an_event_are_1_to_200_characters_without_control_characters() {
    let server = TestServer::start().await;
    let event = || json_event("step", "{}");
    for bad in ["a\n", "\0", "a\u{9f}", "\u{1b}[31m", &"é".repeat(201), &"x".repeat(3 << 20)] {
        let events = |event| vec![numbered(1), event];
        let named = pb::NewEvent { agent_name: bad.to_owned(), ..event() };
        assert_refused(&server, events(with_id(bad, event())), "events[1].event_id").await;
        assert_refused(&server, events(json_event(bad, "{}")), "events[1].type").await;
        assert_refused(&server, events(named), "events[1].agent_name").await;
    }
    assert_refused(&server, vec![json_event("", "{}")], "events[0].type").await;
    let long = "é".repeat(200);
    let named = pb::NewEvent { agent_name: long.clone(), ..json_event(&long, "{}") };
    server.publish("r", vec![with_id(&long, named)]).await;
    let event = server.everything().await.remove(0);
    assert_eq!([event.event_id, event.r#type, event.agent_name], [long.clone(), long.clone(), long]);
}

#[tokio::test]
async fn a_publish_holds_1_to_1000_events() {
    let server = TestServer::start().await;
    assert_refused(&server, vec![], "events").await;
    assert_refused(&server, notes(1_001), "events").await;
    assert_eq!(server.publish("r", notes(1_000)).await.events.len(), 1_000);
}

#[tokio::test]
async fn a_payload_is_json_nested_at_most_64_deep() {
    let server = TestServer::start().await;
    let nested = |depth: usize| format!("{}{}", r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2));
    for bad in ["", " ", "{", "NaN", "Infinity", "{'a':1}", "{}{}", "[1,]", "01", "\u{feff}{}", "\"\t\"", &nested(66)] {
        assert_refused(&server, vec![json_event("x", bad)], "events[0].payload").await;
    }
    assert_refused(&server, vec![json_event("x", &format!("[{}]", nested(64)))], "events[0].payload").await;
    let typed = |depth: usize| {
        typed_event(Variant::RunEnd(pb::RunEnd { output_json: Some(nested(depth)), ..Default::default() }.into()))
    };
    assert_refused(&server, vec![typed(64)], "events[0].payload").await;
    assert_refused(&server, vec![json_event("x", &"[".repeat(1 << 20))], "events[0].payload").await;
    server.publish("r", vec![json_event("x", &nested(64)), typed(62)]).await;
}

#[tokio::test]
async fn a_typed_double_is_a_number_that_json_can_say() {
    let server = TestServer::start().await;
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let cost = pb::RunEnd { cost_usd: Some(bad), ..Default::default() };
        let step = pb::Step { duration_ms: Some(bad), ..Default::default() };
        let limit = pb::LimitExceeded { current_value: Some(bad), ..Default::default() };
        for (variant, field) in [
            (Variant::RunEnd(cost.into()), "run_end.cost_usd"),
            (Variant::Step(step.into()), "step.duration_ms"),
            (Variant::LimitExceeded(limit.into()), "limit_exceeded.current_value"),
        ] {
            let field = format!("events[0].payload.{field}");
            assert_refused(&server, vec![typed_event(variant)], &field).await;
        }
    }
    let extremes = [f64::MAX, f64::MIN_POSITIVE, -0.0, 5e-324, 0.1 + 0.2];
    let steps = extremes.map(|number| pb::Step { duration_ms: Some(number), ..Default::default() });
    server.publish("r", steps.iter().map(|step| typed_event(Variant::Step(step.clone().into()))).collect()).await;
    let typed = pb::ListEventsRequest { payload_format: pb::PayloadFormat::Typed.into(), ..list_run("r") };
    let read = server.list(typed).await.unwrap().events.into_iter().map(|event| event.payload.unwrap().variant);
    assert_eq!(read.collect::<Vec<_>>(), steps.map(|step| Some(Variant::Step(step.into()))));
}

#[tokio::test]
async fn extra_json_is_an_object_beside_a_variant_and_contradicts_no_field() {
    let server = TestServer::start().await;
    let step = || Some(Variant::Step(pb::Step { phase: Some("end".to_owned()), ..Default::default() }.into()));
    let json = || Some(Variant::Json("{}".to_owned()));
    for (event, field) in [
        (with_extra("{}", json()), "extra_json"),
        (with_extra("[]", step()), "extra_json"),
        (with_extra("{", step()), "extra_json"),
        (with_extra("{", None), "extra_json"),
        (with_extra(r#"{"a":1,"a":2}"#, step()), "extra_json"),
        (with_extra(r#"{"phase":"start"}"#, step()), "step.phase"),
        (
            typed_event(Variant::RunStart(pb::RunStart { input_json: Some("{".to_owned()), framework: None }.into())),
            "run_start.input_json",
        ),
    ] {
        assert_refused(&server, vec![event], &format!("events[0].payload.{field}")).await;
    }
}

#[tokio::test]
async fn a_refusal_is_short_however_long_what_was_sent_is() {
    let server = TestServer::start().await;
    let key = "é".repeat(100_000);
    let twice = with_extra(&format!(r#"{{"{key}":1,"{key}":2}}"#), Some(Variant::Step(Box::default())));
    assert_refused(&server, vec![twice], "events[0].payload.extra_json").await;
    server.publish("r", notes(1)).await;
    let request = pb::ListEventsRequest { cursor: key.clone(), ..list_run("r") };
    let refusal = crate::refusal::refused(server.list(request).await);
    assert_eq!(refusal.reason, "CURSOR_INVALID");
    let request = pb::ListEventsRequest { filter: crate::reading::types(&[&key]), ..list_run("r") };
    refused_field(server.list(request).await, "filter.types[0]");
}

#[tokio::test]
async fn numbers_that_no_enum_has_are_refused_by_name() {
    let server = TestServer::start().await;
    for bad in [3, -1, i32::MAX] {
        let event = pb::NewEvent { origin: bad, ..numbered(1) };
        assert_refused(&server, vec![event], "events[0].origin").await;
    }
    server.publish("r", notes(1)).await;
    for bad in [3, -1, i32::MAX] {
        let list = pb::ListEventsRequest { payload_format: bad, ..list_run("r") };
        refused_field(server.list(list).await, "payload_format");
        refused_field(server.list(pb::ListEventsRequest { view: bad, ..list_run("r") }).await, "view");
        let follow = pb::SubscribeRequest { payload_format: bad, ..follow_run("r") };
        refused_field(server.try_subscribe(follow).await, "payload_format");
        refused_field(server.try_subscribe(pb::SubscribeRequest { view: bad, ..follow_run("r") }).await, "view");
    }
}

#[tokio::test]
async fn the_bounds_are_options() {
    let server = TestServer::start_with(|options| {
        options.limits.max_payload_bytes = 10;
        options.limits.max_request_events = 2;
        options.limits.max_json_depth = 1;
        options.limits.max_page_size = 2;
    })
    .await;
    assert_refused(&server, vec![json_event("x", "\"123456789\"")], "events[0].payload").await;
    assert_refused(&server, notes(3), "events").await;
    assert_refused(&server, vec![json_event("x", "[[]]")], "events[0].payload").await;
    server.publish("r", vec![json_event("x", "\"12345678\""), json_event("x", "[]")]).await;
    server.publish("r", vec![json_event("x", "1")]).await;
    assert_eq!(server.list(list_run("r")).await.unwrap().events.len(), 2, "the default is no more than the bound");
    refused_field(server.list(pb::ListEventsRequest { page_size: 3, ..list_run("r") }).await, "page_size");
    refused_field(server.try_subscribe(pb::SubscribeRequest { max_batch: 3, ..follow_run("r") }).await, "max_batch");
}

#[tokio::test]
async fn a_payload_of_a_caller_in_this_process_is_limited_as_well_and_its_origin_follows_its_type() {
    use runlog::domain::{EventType, NewEvent, Origin, Payload, RunId};
    use runlog::service::ServiceOptions;
    use runlog::service::publish::Publish;

    let embedded = crate::embedded::Embedded::start(ServiceOptions::default()).await;
    let max = ServiceOptions::default().limits.max_payload_bytes;
    let publish = |event_type: &str, bytes: usize| {
        // Read back from a store, so that no limit was checked.
        let payload = Payload::from_stored(format!("\"{}\"", "x".repeat(bytes - 2)));
        let events = vec![NewEvent::new(EventType::parse(event_type).unwrap(), payload)];
        embedded.service.publish(Publish { run_id: RunId::parse("r").unwrap(), events, expected_last_seq: None })
    };
    let refused = publish("step", max + 1).await.unwrap_err();
    assert_eq!(refused.field().as_deref(), Some("events[0].payload"), "{refused}");
    assert_eq!(publish("step", max).await.unwrap().last_seq, 1);
    assert_eq!(publish("run.created", 2).await.unwrap().last_seq, 2);
    let origin = |event_type| NewEvent::new(EventType::parse(event_type).unwrap(), Payload::from_stored("{}")).origin;
    assert_eq!((origin("step"), origin("run.created")), (Origin::User, Origin::System));
}
