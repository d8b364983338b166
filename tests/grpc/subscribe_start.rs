//! Promise 4, the replay: the start positions of a subscription, and the end of the replay.

use runlog::pb;
use runlog::pb::subscribe_request::{Scope, Start};
use tonic::Code;

use crate::builders::{json_event, notes, numbered};
use crate::harness::TestServer;
use crate::reading::{Received, after, follow_all_runs, follow_run, seqs, types};
use crate::refusal::{refused, refused_field};

/// The seqs of the replay, and the last seq in the `CaughtUp` frame.
async fn replay(server: &TestServer, start: Option<Start>, patterns: &[&str]) -> (Vec<u64>, u64) {
    let filter = types(patterns).filter(|filter| !filter.types.is_empty());
    let mut reader = server.subscribe(pb::SubscribeRequest { start, filter, ..follow_run("r") }).await;
    let (events, last_seq) = reader.replay().await;
    assert_eq!(reader.cursor, last_seq.to_string(), "the cursor passes what the filter holds back");
    (seqs(&events), last_seq)
}

#[tokio::test]
async fn a_subscription_starts_at_the_beginning_after_a_cursor_with_the_tail_or_with_what_comes() {
    let server = TestServer::start().await;
    server.publish("r", (1..=10).map(|n| json_event(["odd", "even"][1 - n % 2], "{}")).collect()).await;
    let all = (1..=10).collect::<Vec<u64>>();
    for (start, expected) in [
        (None, &all[..]),
        (after(""), &all),
        (after("0"), &all),
        (after("7"), &all[7..]),
        (after("10"), &[]),
        (Some(Start::Latest(pb::Latest {})), &[]),
        (Some(Start::Tail(0)), &[]),
        (Some(Start::Tail(1)), &all[9..]),
        (Some(Start::Tail(4)), &all[6..]),
        (Some(Start::Tail(10)), &all),
        (Some(Start::Tail(1_000)), &all),
    ] {
        assert_eq!(replay(&server, start.clone(), &[]).await, (expected.to_vec(), 10), "{start:?}");
    }
    for (start, expected) in [
        (None, &[2, 4, 6, 8, 10][..]),
        (after("7"), &[8, 10]),
        (Some(Start::Latest(pb::Latest {})), &[]),
        (Some(Start::Tail(0)), &[]),
        (Some(Start::Tail(2)), &[8, 10]),
        (Some(Start::Tail(5)), &[2, 4, 6, 8, 10]),
        (Some(Start::Tail(6)), &[2, 4, 6, 8, 10]),
    ] {
        assert_eq!(replay(&server, start.clone(), &["even"]).await, (expected.to_vec(), 10), "{start:?} filtered");
    }
}

#[tokio::test]
async fn a_tail_with_a_filter_counts_large_events_too() {
    let server = TestServer::start().await;
    let large = json_event("large", &format!("\"{}\"", "x".repeat((1 << 20) - 2)));
    for _ in 0..8 {
        server.publish("r", vec![numbered(1), large.clone(), numbered(2)]).await;
    }
    let (found, _) = replay(&server, Some(Start::Tail(7)), &["large"]).await;
    assert_eq!(found, [5, 8, 11, 14, 17, 20, 23]);
}

#[tokio::test]
async fn all_runs_start_in_the_same_ways() {
    let server = TestServer::start().await;
    for n in 1..=10 {
        server.publish(&format!("r{n}"), notes(1)).await;
    }
    let mut first = server.subscribe(follow_all_runs()).await;
    let frame = first.next().await;
    assert!(matches!(&frame, Received::Events(events) if events.len() == 10), "{frame:?}");
    let end = first.cursor.clone();
    for (start, count) in [
        (None, 10),
        (after(""), 10),
        (after(&end), 0),
        (Some(Start::Latest(pb::Latest {})), 0),
        (Some(Start::Tail(3)), 3),
        (Some(Start::Tail(1_000)), 10),
    ] {
        let mut reader = server.subscribe(pb::SubscribeRequest { start, ..follow_all_runs() }).await;
        let (events, last_seq) = reader.replay().await;
        let runs: Vec<_> = events.iter().map(|event| event.run_id.clone()).collect();
        let expected: Vec<_> = (11 - count..=10).map(|n| format!("r{n}")).collect();
        assert_eq!((runs, last_seq, reader.cursor), (expected, 0, end.clone()));
    }
}

#[tokio::test]
async fn the_end_of_the_replay_is_announced_once_and_later_events_are_live() {
    let server = TestServer::start().await;
    server.publish("r", notes(3)).await;
    let mut reader = server.subscribe(follow_run("r")).await;
    assert_eq!(seqs(&reader.replay().await.0), [1, 2, 3]);
    server.publish("r", notes(2)).await;
    assert_eq!(seqs(&reader.events(2).await), [4, 5]);
    server.publish("r", vec![crate::builders::the_end()]).await;
    let rest = reader.rest().await;
    assert!(!rest.iter().any(|received| matches!(received, Received::CaughtUp(_))), "{rest:?}");
}

#[tokio::test]
async fn frames_hold_at_most_max_batch_events() {
    let server = TestServer::start().await;
    server.publish("r", notes(250)).await;
    for (max_batch, largest) in [(0, 100), (1, 1), (7, 7), (1_000, 250)] {
        let mut reader = server.subscribe(pb::SubscribeRequest { max_batch, ..follow_run("r") }).await;
        let (mut sizes, mut seen) = (Vec::new(), 0);
        while seen < 250 {
            let Received::Events(events) = reader.next().await else { panic!("the replay is not over") };
            sizes.push(events.len());
            seen += events.len();
            assert_eq!(reader.cursor, seen.to_string());
        }
        assert_eq!(sizes.iter().max(), Some(&largest));
        assert_eq!(reader.next().await, Received::CaughtUp(250));
    }
    for max_batch in [1_001, u32::MAX] {
        let refusal = server.try_subscribe(pb::SubscribeRequest { max_batch, ..follow_run("r") }).await;
        refused_field(refusal, "max_batch");
    }
}

#[tokio::test]
async fn frames_of_a_filtered_reader_are_full_of_what_passes() {
    let server = TestServer::start().await;
    for _ in 0..10 {
        server.publish("r", (1..=100).map(|n| json_event(["odd", "even"][1 - n % 2], "{}")).collect()).await;
    }
    for (max_batch, most) in [(1, 1), (7, 7), (1_000, 500)] {
        let filter = types(&["even"]);
        let mut reader = server.subscribe(pb::SubscribeRequest { max_batch, filter, ..follow_run("r") }).await;
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        while seen.len() < 500 {
            let Received::Events(events) = reader.next().await else { panic!("the replay is not over") };
            sizes.push(events.len());
            seen.extend(seqs(&events));
            assert_eq!(reader.cursor, seen[seen.len() - 1].to_string(), "no further than what was received");
        }
        assert_eq!(seen, (1..=500).map(|n| n * 2).collect::<Vec<u64>>());
        assert!(sizes.iter().all(|size| *size <= most), "{sizes:?}");
        assert_eq!(reader.next().await, Received::CaughtUp(1_000));
    }
}

#[tokio::test]
async fn a_tail_or_a_heartbeat_out_of_bounds_is_refused_by_name() {
    let server = TestServer::start().await;
    server.publish("r", notes(1)).await;
    for count in [1_001, u32::MAX] {
        let start = Some(Start::Tail(count));
        refused_field(server.try_subscribe(pb::SubscribeRequest { start, ..follow_run("r") }).await, "tail");
    }
    for (seconds, nanos) in [(0, 0), (0, 999_999_999), (300, 1), (301, 0), (-1, 0), (i64::MAX, 0)] {
        let heartbeat_interval = Some(prost_types::Duration { seconds, nanos });
        let refusal = server.try_subscribe(pb::SubscribeRequest { heartbeat_interval, ..follow_run("r") }).await;
        refused_field(refusal, "heartbeat_interval");
    }
    for seconds in [1, 300] {
        let heartbeat_interval = Some(prost_types::Duration { seconds, nanos: 0 });
        server.subscribe(pb::SubscribeRequest { heartbeat_interval, ..follow_run("r") }).await;
    }
}

#[tokio::test]
async fn a_run_without_events_is_not_found_unless_it_is_waited_for() {
    let server = TestServer::start().await;
    let refusal = refused(server.try_subscribe(follow_run("r")).await).is(Code::NotFound, "RUN_NOT_FOUND");
    assert_eq!(refusal.metadata["run_id"], "r");
    for start in [None, Some(Start::Latest(pb::Latest {})), Some(Start::Tail(5)), after("0")] {
        let run_id = format!("run-{}", start.is_some()) + &format!("{start:?}").len().to_string();
        let request = pb::SubscribeRequest { wait_for_run: true, start, ..follow_run(&run_id) };
        let mut reader = server.subscribe(request).await;
        assert_eq!(reader.next().await, Received::CaughtUp(0), "nothing was stored when it began");
        server.publish(&run_id, notes(2)).await;
        assert_eq!(seqs(&reader.events(2).await), [1, 2]);
        server.publish(&run_id, vec![crate::builders::the_end()]).await;
        let rest = reader.rest().await;
        assert_eq!(rest.last(), Some(&Received::Ended(pb::RunStatus::Succeeded, 3)));
    }
    let waiting = pb::SubscribeRequest { wait_for_run: true, start: after("5"), ..follow_run("none") };
    refused(server.try_subscribe(waiting).await).is(Code::OutOfRange, "CURSOR_BEYOND_END");
}

#[tokio::test]
async fn a_scope_is_needed() {
    let server = TestServer::start().await;
    refused_field(server.try_subscribe(pb::SubscribeRequest { scope: None, ..follow_run("r") }).await, "scope");
    let scope = Some(Scope::RunId("a\n".to_owned()));
    refused_field(server.try_subscribe(pb::SubscribeRequest { scope, ..follow_run("r") }).await, "run_id");
}
