//! Promise 6: the end of a run is a frame. A stream that closes without the frame was cut.

use runlog::pb;
use runlog::pb::subscribe_request::Start;

use crate::builders::{json_event, notes, numbered, the_end};
use crate::harness::TestServer;
use crate::reading::{Received, after, events_of, follow_run, seqs, types};

const ENDS: [(&str, &str, pb::RunStatus); 6] = [
    ("run_end", "{}", pb::RunStatus::Succeeded),
    ("error", "{}", pb::RunStatus::Failed),
    ("run.cancelled", "{}", pb::RunStatus::Cancelled),
    ("run.worker.succeeded", "{}", pb::RunStatus::Succeeded),
    ("run.limit_exceeded", "{}", pb::RunStatus::Failed),
    ("StructureRunCompleted", r#"{"status":"CANCELLED"}"#, pb::RunStatus::Cancelled),
];

#[tokio::test]
async fn a_live_reader_gets_the_end_with_status_and_seq_and_the_stream_closes_with_ok() {
    let server = TestServer::start().await;
    for (event_type, payload, status) in ENDS {
        let request = pb::SubscribeRequest { wait_for_run: true, ..follow_run(event_type) };
        let mut reader = server.subscribe(request).await;
        assert_eq!(reader.next().await, Received::CaughtUp(0));
        server.publish(event_type, vec![numbered(1), numbered(2), json_event(event_type, payload)]).await;
        assert_eq!(seqs(&reader.events(3).await), [1, 2, 3]);
        assert_eq!(reader.next().await, Received::Ended(status, 3));
        assert_eq!(reader.cursor, "3");
        assert_eq!(reader.try_next().await.unwrap(), None, "OK");
    }
}

#[tokio::test]
async fn joining_a_finished_run_replays_and_ends_at_once_also_after_a_restart() {
    let mut server = TestServer::start().await;
    server.publish("r", notes(5)).await;
    server.publish("r", vec![the_end()]).await;
    for _ in 0..2 {
        for (start, expected) in [
            (None, vec![1, 2, 3, 4, 5, 6]),
            (after("4"), vec![5, 6]),
            (after("6"), vec![]),
            (Some(Start::Latest(pb::Latest {})), vec![]),
            (Some(Start::Tail(1)), vec![6]),
        ] {
            let request = pb::SubscribeRequest { start, ..follow_run("r") };
            let received = server.subscribe(request).await.rest().await;
            assert_eq!(seqs(&events_of(&received)), expected);
            let end = [Received::CaughtUp(6), Received::Ended(pb::RunStatus::Succeeded, 6)];
            assert_eq!(received[received.len() - 2..], end);
        }
        let request = pb::SubscribeRequest { filter: types(&["nothing"]), ..follow_run("r") };
        let received = server.subscribe(request).await.rest().await;
        assert_eq!(received, [Received::CaughtUp(6), Received::Ended(pb::RunStatus::Succeeded, 6)]);
        server.restart().await;
    }
}

#[tokio::test]
async fn events_after_the_end_are_replayed_before_the_end_is_announced() {
    let server = TestServer::start().await;
    server.publish("r", vec![numbered(1), the_end()]).await;
    server.publish("r", vec![numbered(3), json_event("error", "{}")]).await;
    let received = server.subscribe(follow_run("r")).await.rest().await;
    assert_eq!(seqs(&events_of(&received)), [1, 2, 3, 4]);
    assert_eq!(received.last(), Some(&Received::Ended(pb::RunStatus::Succeeded, 4)), "the first end counts");
}

#[tokio::test]
async fn a_reader_that_keeps_the_stream_open_gets_the_end_once_and_late_events() {
    let server = TestServer::start().await;
    server.publish("r", notes(1)).await;
    let keep_open = pb::SubscribeRequest { keep_open: true, ..follow_run("r") };
    let mut live = server.subscribe(keep_open.clone()).await;
    assert_eq!(live.replay().await.1, 1);
    server.publish("r", vec![the_end()]).await;
    assert_eq!(seqs(&live.events(1).await), [2]);
    assert_eq!(live.next().await, Received::Ended(pb::RunStatus::Succeeded, 2));
    let mut joined = server.subscribe(keep_open).await;
    assert_eq!(seqs(&joined.replay().await.0), [1, 2]);
    assert_eq!(joined.next().await, Received::Ended(pb::RunStatus::Succeeded, 2));
    for seq in 3..=5 {
        server.publish("r", notes(1)).await;
        for reader in [&mut live, &mut joined] {
            let Received::Events(late) = reader.next().await else { panic!("only events come") };
            assert_eq!(seqs(&late), [seq]);
        }
    }
}

#[tokio::test]
async fn a_pause_is_not_the_end() {
    let server = TestServer::start().await;
    server.publish("r", vec![json_event("run_start", "{}")]).await;
    let mut reader = server.subscribe(follow_run("r")).await;
    assert_eq!(reader.replay().await.1, 1);
    for (seq, event_type) in (2..).zip(["human_input_requested", "run.worker.stalled", "run.awaiting_input", "step"]) {
        server.publish("r", vec![json_event(event_type, "{}")]).await;
        assert_eq!(reader.next().await, Received::Events(server.everything().await.split_off(seq - 1)));
    }
}
