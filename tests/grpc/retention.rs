//! Retention, holds and erasure as readers see them: what is gone is refused or marked by name. Promises 2 to 5.

use std::time::Duration;

use runlog::config::{KeepOptions, Rule, ServeOptions};
use runlog::domain::filter::TypePattern;
use runlog::domain::retention::Keep;
use runlog::pb;
use tonic::Code;

use crate::builders::{json_event, notes, the_end};
use crate::harness::{TestServer, in_time};
use crate::reading::{Received, after, follow_all_runs, follow_run, json_of, list_all_runs, list_run, seqs};
use crate::refusal::{Refusal, refused};

/// Everything is too old soon after its commit, but the newest event.
fn short(options: &mut ServeOptions) {
    options.keeping = KeepOptions {
        retain_for: vec![Rule::of_all(Keep::For(Duration::from_millis(1)))],
        retain_interval: Duration::from_millis(100),
        ..options.keeping.clone()
    };
}

fn from(cursor: &str, list: pb::ListEventsRequest) -> pb::ListEventsRequest {
    pb::ListEventsRequest { cursor: cursor.to_owned(), ..list }
}

async fn first_seq(server: &TestServer, run: &str) -> u64 {
    server.run(run).await.first_seq
}

/// Waits until the run begins with this seq.
async fn begins_with(server: &TestServer, run: &str, first: u64) {
    let waited = async {
        while first_seq(server, run).await != first {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(waited).await;
}

async fn hold(server: &TestServer, run: &str) {
    let request = pb::HoldRunRequest { run_id: run.to_owned() };
    assert!(server.runs().await.hold_run(request).await.unwrap().into_inner().run.unwrap().held);
}

async fn release(server: &TestServer, run: &str) {
    let request = pb::ReleaseRunRequest { run_id: run.to_owned() };
    assert!(!server.runs().await.release_run(request).await.unwrap().into_inner().run.unwrap().held);
}

async fn erase(server: &TestServer, run: &str, first_seq: u64, last_seq: u64) -> pb::EraseEventsResponse {
    let request = pb::EraseEventsRequest { run_id: run.to_owned(), first_seq, last_seq };
    server.runs().await.erase_events(request).await.unwrap().into_inner()
}

fn expired(refusal: Refusal, first: &str) {
    let refusal = refusal.is(Code::OutOfRange, "CURSOR_EXPIRED").names("cursor");
    assert_eq!(refusal.metadata["first_cursor"], first, "{refusal:?}");
}

#[tokio::test]
async fn a_cursor_before_what_is_kept_is_refused_by_name_and_the_run_goes_on() {
    let server = TestServer::start_with(short).await;
    server.publish("r", notes(5)).await;
    server.publish("other", notes(1)).await;
    begins_with(&server, "r", 6).await;
    for cursor in ["1", "4"] {
        expired(refused(server.list(from(cursor, list_run("r"))).await), "5");
        let follow = pb::SubscribeRequest { start: after(cursor), ..follow_run("r") };
        expired(refused(server.try_subscribe(follow).await), "5");
    }
    let descending = pb::ListEventsRequest { descending: true, ..list_run("r") };
    for request in
        [list_run("r"), from("0", list_run("r")), from("5", list_run("r")), descending.clone(), from("4", descending)]
    {
        let page = server.list(request).await.unwrap();
        assert_eq!((page.events, page.has_more, page.last_seq), (vec![], false, 5));
    }
    let run = server.run("r").await;
    assert_eq!((run.first_seq, run.last_seq), (6, 5));
    // New events go on with the next seq, and a reader without a cursor begins with the first one that is kept.
    server.publish("r", vec![the_end()]).await;
    let tail = Some(runlog::pb::subscribe_request::Start::Tail(3));
    let tail = pb::SubscribeRequest { start: tail, filter: crate::reading::types(&["none"]), ..follow_run("r") };
    assert_eq!(server.subscribe(tail).await.replay().await.0, []);
    let (events, last) = server.subscribe(follow_run("r")).await.replay().await;
    assert!(seqs(&events).iter().all(|seq| *seq == 6) && last == 6, "{events:?}");
    assert_eq!(server.run("r").await.status(), pb::RunStatus::Succeeded);
}

#[tokio::test]
async fn a_cursor_of_the_feed_before_what_is_kept_is_refused_with_the_first_one_that_is() {
    let server = TestServer::start_with(short).await;
    server.publish("r", notes(3)).await;
    let page = server.list(pb::ListEventsRequest { page_size: 1, ..list_all_runs() }).await;
    server.publish("other", notes(1)).await;
    begins_with(&server, "r", 4).await;
    // The cursor of position 1; if retention was faster, that of the end.
    let old = page.unwrap().next_cursor;
    let Err(status) = server.list(from(&old, list_all_runs())).await else { return };
    let refusal = Refusal::of(&status).is(Code::OutOfRange, "CURSOR_EXPIRED").names("cursor");
    let first = &refusal.metadata["first_cursor"];
    let kept = server.list(from(first, list_all_runs())).await.unwrap();
    assert_eq!(kept.events.iter().map(|event| event.run_id.as_str()).collect::<Vec<_>>(), ["other"]);
    let from_the_beginning = server.list(list_all_runs()).await.unwrap();
    assert_eq!(from_the_beginning.events, kept.events);
    let follow = pb::SubscribeRequest { start: after(&old), ..follow_all_runs() };
    expired(refused(server.try_subscribe(follow).await), first);
}

#[tokio::test]
async fn a_held_run_is_kept_until_it_is_released() {
    let server = TestServer::start_with(short).await;
    server.publish("held", notes(2)).await;
    let held = first_seq(&server, "held").await;
    hold(&server, "held").await;
    server.publish("r", notes(2)).await;
    server.publish("other", notes(1)).await;
    begins_with(&server, "r", 3).await;
    assert_eq!(first_seq(&server, "held").await, held);
    release(&server, "held").await;
    begins_with(&server, "held", 3).await;
    for run in ["missing", ""] {
        let request = pb::HoldRunRequest { run_id: run.to_owned() };
        assert!(server.runs().await.hold_run(request).await.is_err());
    }
}

const MANY: usize = 4_000;

/// Publishes this many events of 4 KB, more than the windows of a connection hold.
async fn publish_many(server: &TestServer, run: &str) {
    let event = json_event("old", &format!("{{\"text\":\"{}\"}}", "x".repeat(4_000)));
    for _ in 0..MANY / 500 {
        server.publish(run, vec![event.clone(); 500]).await;
    }
}

#[tokio::test]
async fn a_subscription_that_is_overtaken_ends_with_the_name_of_it() {
    let server = TestServer::start_with(short).await;
    server.publish("r", notes(1)).await;
    hold(&server, "r").await;
    publish_many(&server, "r").await;
    let mut reader = server.subscribe(follow_run("r")).await;
    assert!(matches!(reader.next().await, Received::Events(_)));
    server.publish("other", notes(1)).await;
    release(&server, "r").await;
    let last = server.run("r").await.last_seq;
    begins_with(&server, "r", last + 1).await;
    let refusal = Refusal::of(&reader.broken().await);
    assert_eq!(refusal.metadata["cursor"], reader.cursor);
    expired(refusal, &last.to_string());
    let resumed = pb::SubscribeRequest { start: after(&last.to_string()), ..follow_run("r") };
    assert_eq!(server.subscribe(resumed).await.replay().await, (vec![], last));
}

#[tokio::test]
async fn a_subscription_among_removed_payloads_sees_no_gap() {
    let server = TestServer::start_with(|options| {
        let keep = Keep::For(Duration::from_millis(1));
        let pattern = TypePattern::parse("type", "old").unwrap();
        options.keeping.retain_type = vec![Rule::of_all((pattern, keep))];
        options.keeping.retain_interval = Duration::from_millis(100);
    })
    .await;
    server.publish("r", vec![json_event("new", r#"{"kept":1}"#)]).await;
    hold(&server, "r").await;
    publish_many(&server, "r").await;
    server.publish("r", vec![json_event("new", r#"{"kept":2}"#)]).await;
    let mut reader = server.subscribe(follow_run("r")).await;
    let Received::Events(mut events) = reader.next().await else { panic!("events come first") };
    release(&server, "r").await;
    let last_old = || server.list(from(&MANY.to_string(), list_run("r")));
    let removed = async {
        while last_old().await.unwrap().events[0].removal() != pb::Removal::Expired {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(removed).await;
    events.extend(reader.events(MANY + 2 - events.len()).await);
    assert_eq!(seqs(&events), (1..=MANY as u64 + 2).collect::<Vec<_>>(), "no gap and no duplicate");
    let is_gone = |event: &pb::Event| event.removal() == pb::Removal::Expired;
    assert!(events.iter().any(is_gone), "what was not sent yet is without payload");
    assert!(events.iter().all(|event| is_gone(event) == (json_of(event) == "{}")));
    assert!(!is_gone(&events[0]) && !is_gone(&events[MANY + 1]), "other types are kept");
}

#[tokio::test]
async fn an_erased_payload_is_gone_for_every_reader_and_its_event_stays() {
    let server = TestServer::start().await;
    let secret = |n: usize| json_event("note", &format!("{{\"secret\":\"s{n}\"}}"));
    server.publish("r", vec![secret(1), secret(2), secret(3)]).await;
    // Fills the windows of the hub, for the run and for all runs.
    let mut live = server.subscribe(follow_run("r")).await;
    let mut feed = server.subscribe(follow_all_runs()).await;
    live.replay().await;
    feed.replay().await;
    server.publish("r", vec![secret(4), secret(5)]).await;
    live.events(2).await;
    feed.events(2).await;
    assert_eq!(erase(&server, "r", 2, 4).await, pb::EraseEventsResponse { first_seq: 2, last_seq: 4, events: 3 });
    let erased = |events: Vec<pb::Event>| {
        assert_eq!(seqs(&events), [1, 2, 3, 4, 5]);
        let payloads: Vec<_> = events.iter().map(json_of).collect();
        assert_eq!(payloads, [r#"{"secret":"s1"}"#, "{}", "{}", "{}", r#"{"secret":"s5"}"#]);
        let removals: Vec<_> = events.iter().map(|event| event.removal() == pb::Removal::Erased).collect();
        assert_eq!(removals, [false, true, true, true, false]);
        assert!(events.iter().all(|event| event.r#type == "note" && !event.event_id.is_empty()));
    };
    erased(server.list(list_run("r")).await.unwrap().events);
    erased(server.list(list_all_runs()).await.unwrap().events);
    erased(server.subscribe(follow_run("r")).await.replay().await.0);
    erased(server.subscribe(follow_all_runs()).await.replay().await.0);
    let resumed = pb::SubscribeRequest { start: after("3"), ..follow_run("r") };
    let tail = server.subscribe(resumed).await.replay().await.0;
    assert_eq!(tail.iter().map(json_of).collect::<Vec<_>>(), ["{}", r#"{"secret":"s5"}"#], "not out of the window");
    // The typed form has no variant to show.
    let typed = pb::ListEventsRequest { payload_format: pb::PayloadFormat::Typed.into(), ..list_run("r") };
    assert!(!format!("{:?}", server.list(typed).await.unwrap().events[1]).contains("s2"));
    assert_eq!(erase(&server, "r", 0, 0).await, pb::EraseEventsResponse { first_seq: 1, last_seq: 5, events: 5 });
    assert_eq!(erase(&server, "r", 0, 0).await.events, 5, "a repeat is safe");
}

#[tokio::test]
async fn the_output_of_an_erased_event_is_gone_from_the_run() {
    let server = TestServer::start().await;
    let question = json_event("human_input_requested", r#"{"question":"secret?"}"#);
    server.publish("r", vec![json_event("run_start", "{}"), question]).await;
    erase(&server, "r", 2, 2).await;
    let run = server.run("r").await;
    assert!(!format!("{run:?}").contains("secret"), "{run:?}");
    assert_eq!((run.status(), run.pending_input_count), (pb::RunStatus::AwaitingInput, 1), "the question stays open");
    server.publish("r", vec![json_event("run_end", r#"{"output":{"secret":1}}"#)]).await;
    assert!(server.run("r").await.output_json.contains("secret"));
    erase(&server, "r", 3, 3).await;
    let run = server.run("r").await;
    assert_eq!((run.output_json.as_str(), run.status()), ("", pb::RunStatus::Succeeded));
}

#[tokio::test]
async fn an_erased_event_is_not_brought_back_by_a_repeat() {
    let server = TestServer::start().await;
    let event = pb::NewEvent { event_id: "e".to_owned(), ..json_event("note", r#"{"secret":1}"#) };
    server.publish("r", vec![event.clone()]).await;
    erase(&server, "r", 1, 1).await;
    let other = pb::NewEvent { event_id: "e".to_owned(), ..json_event("note", r#"{"secret":2}"#) };
    for event in [event, other] {
        let again = server.publish("r", vec![event]).await;
        assert_eq!((again.events[0].seq, again.events[0].duplicate), (1, true));
    }
    let events = server.list(list_run("r")).await.unwrap().events;
    assert_eq!((seqs(&events), json_of(&events[0])), (vec![1], "{}"));
}

#[tokio::test]
async fn an_erasure_of_a_missing_run_or_a_turned_range_is_refused_by_name() {
    let server = TestServer::start().await;
    let request =
        |run: &str, first_seq, last_seq| pb::EraseEventsRequest { run_id: run.to_owned(), first_seq, last_seq };
    let mut runs = server.runs().await;
    refused(runs.erase_events(request("missing", 0, 0)).await).is(Code::NotFound, "RUN_NOT_FOUND");
    server.publish("r", notes(2)).await;
    refused(runs.erase_events(request("r", 2, 1)).await).is(Code::InvalidArgument, "INVALID_FIELD").names("last_seq");
    let beyond = runs.erase_events(request("r", 3, 9)).await.unwrap().into_inner();
    assert_eq!(beyond.events, 0);
}

fn delta(task: &str, text: &str) -> pb::NewEvent {
    let payload = format!(r#"{{"task_id":"{task}","kind":"content_delta","content_delta":"{text}"}}"#);
    json_event("step.progress", &payload)
}

fn step_done(task: &str, content: &str) -> pb::NewEvent {
    json_event("step.done", &format!(r#"{{"task_id":"{task}","content":"{content}","outcome":"succeeded"}}"#))
}

#[tokio::test]
async fn deltas_of_a_step_become_one_for_replays_and_live_readers_have_seen_each() {
    let server = TestServer::start_with(|options| {
        options.keeping.compact_deltas_after = Some(Duration::from_millis(1));
        options.keeping.retain_interval = Duration::from_millis(100);
    })
    .await;
    server.publish("r", vec![json_event("run_start", "{}")]).await;
    let mut live = server.subscribe(follow_run("r")).await;
    live.replay().await;
    let texts = ["One ", "two ", "three"];
    server.publish("r", texts.map(|text| delta("a", text)).into()).await;
    server.publish("r", ["x", "y"].map(|text| delta("b", text)).into()).await;
    let seen = live.events(5).await;
    assert!(seen.iter().all(|event| event.removal() == pb::Removal::Unspecified));
    server.publish("r", vec![step_done("b", "not xy"), step_done("a", "One two three")]).await;
    let compacted = async {
        loop {
            let events = server.list(list_run("r")).await.unwrap().events;
            if events[1].removal() == pb::Removal::Compacted {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let events = in_time(compacted).await;
    assert_eq!(seqs(&events), (1..=8).collect::<Vec<_>>());
    let removed: Vec<bool> = events.iter().map(|event| event.removal() == pb::Removal::Compacted).collect();
    assert_eq!(removed, [false, true, true, false, false, false, false, false]);
    assert_eq!(json_of(&events[3]), r#"{"task_id":"a","kind":"content_delta","content_delta":"One two three"}"#);
    let joined_from: Vec<u64> = events.iter().map(|event| event.joined_from).collect();
    assert_eq!(joined_from, [0, 0, 0, 2, 0, 0, 0, 0]);
    assert!(json_of(&events[4]).contains('x') && json_of(&events[5]).contains('y'), "the text of b differs");
    let (replayed, _) = server.subscribe(follow_run("r")).await.replay().await;
    assert_eq!(replayed, events);
}
