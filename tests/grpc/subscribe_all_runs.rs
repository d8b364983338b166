//! Promise 4 over all runs: each event once, in the order in which events were stored.

use std::collections::HashMap;

use runlog::pb;

use crate::builders::{json_event, notes, numbered, publish_request, the_end};
use crate::harness::{TestServer, in_time};
use crate::reading::{Received, after, follow_all_runs, types};

const RUNS: usize = 8;
const BATCHES: usize = 60;
const TOTAL: usize = RUNS * BATCHES * 3;

fn places(events: &[pb::Event]) -> Vec<(String, u64)> {
    events.iter().map(|event| (event.run_id.clone(), event.seq)).collect()
}

#[tokio::test]
async fn with_many_publishers_each_event_comes_once_in_the_order_of_commits() {
    let server = TestServer::start_with(|options| options.reading.hub_window_events = 64).await;
    let mut early = server.subscribe(follow_all_runs()).await;
    let mut filtered = server.subscribe(pb::SubscribeRequest { filter: types(&["note"]), ..follow_all_runs() }).await;
    let mut writing = tokio::task::JoinSet::new();
    for run in 0..RUNS {
        let mut client = server.events().await;
        writing.spawn(async move {
            for n in 0..BATCHES {
                let batch = vec![numbered(n), json_event("other", "{}"), numbered(n)];
                client.publish(publish_request(&format!("run-{run}"), batch)).await.unwrap();
            }
        });
    }
    let mut seen = early.events(TOTAL / 3).await;
    let mut late = server.subscribe(pb::SubscribeRequest { max_batch: 7, ..follow_all_runs() }).await;
    seen.extend(early.events(TOTAL - seen.len()).await);
    let seen_late = late.events(TOTAL).await;
    let seen_filtered = filtered.events(TOTAL / 3 * 2).await;
    in_time(writing.join_all()).await;

    let stored = server.everything().await;
    assert_eq!(stored.len(), TOTAL);
    assert_eq!(places(&seen), places(&stored));
    assert_eq!(seen_late, stored);
    let passing: Vec<_> = stored.iter().filter(|event| event.r#type == "note").cloned().collect();
    assert_eq!(seen_filtered, passing);
    let mut next: HashMap<&str, u64> = HashMap::new();
    for event in &stored {
        let seq = next.entry(&event.run_id).or_insert(1);
        assert_eq!(event.seq, *seq, "each run in its own order");
        *seq += 1;
    }
}

#[tokio::test]
async fn reading_all_runs_goes_on_from_the_cursor_of_every_frame_also_after_a_restart() {
    let mut server = TestServer::start().await;
    for n in 0..20 {
        server.publish(&format!("run-{}", n % 3), notes(3)).await;
    }
    let stored = server.everything().await;
    let mut reader = server.subscribe(pb::SubscribeRequest { max_batch: 7, ..follow_all_runs() }).await;
    let (mut cuts, mut seen) = (Vec::new(), 0);
    while seen < 60 {
        seen += reader.events(1).await.len();
        cuts.push((reader.cursor.clone(), seen));
    }
    for _ in 0..2 {
        for (cursor, seen) in &cuts {
            let start = after(cursor);
            let mut reader = server.subscribe(pb::SubscribeRequest { start, ..follow_all_runs() }).await;
            assert_eq!(reader.replay().await.0, stored[*seen..]);
        }
        server.restart().await;
    }
}

#[tokio::test]
async fn the_end_of_a_run_does_not_end_the_feed_of_all() {
    let server = TestServer::start().await;
    let mut reader = server.subscribe(follow_all_runs()).await;
    assert_eq!(reader.next().await, Received::CaughtUp(0));
    server.publish("a", vec![the_end()]).await;
    assert_eq!(places(&reader.events(1).await), [("a".to_owned(), 1)]);
    server.publish("b", vec![the_end()]).await;
    let Received::Events(events) = reader.next().await else { panic!("nothing but events comes") };
    assert_eq!(places(&events), [("b".to_owned(), 1)]);
}

#[tokio::test]
async fn a_heartbeat_over_all_runs_moves_the_cursor_past_what_the_filter_holds_back() {
    let server = TestServer::start().await;
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let filter = types(&["nothing"]);
    let request = pb::SubscribeRequest { heartbeat_interval, filter, ..follow_all_runs() };
    let mut reader = server.subscribe(request).await;
    assert_eq!(reader.next().await, Received::CaughtUp(0));
    let before = reader.cursor.clone();
    server.publish("r", notes(5)).await;
    while reader.cursor == before {
        assert_eq!(reader.next().await, Received::Heartbeat);
    }
    server.publish("r", vec![json_event("nothing", "{}")]).await;
    let start = after(&reader.cursor);
    let mut resumed = server.subscribe(pb::SubscribeRequest { start, ..follow_all_runs() }).await;
    assert_eq!(resumed.events(1).await[0].seq, 6);
}
