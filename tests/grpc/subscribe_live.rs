//! Promise 4, live: no gap, no duplicate, in order, at any speed of the reader.

use runlog::pb;
use tokio::task::JoinHandle;

use crate::builders::{json_event, notes, numbered, publish_request, the_end};
use crate::harness::{TestServer, in_time};
use crate::reading::{Received, after, events_of, follow_run, json_of, seqs, types};

const SECOND: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 1, nanos: 0 });

/// Publishes 1 … count in batches of changing sizes, then the run's end.
async fn write_in_background(server: &TestServer, run_id: &'static str, count: usize) -> JoinHandle<()> {
    let mut client = server.events().await;
    tokio::spawn(async move {
        let mut next = 1;
        for size in (1..=17).cycle() {
            let batch: Vec<_> = (next..=count).take(size).map(numbered).collect();
            if batch.is_empty() {
                break;
            }
            next += batch.len();
            client.publish(publish_request(run_id, batch)).await.unwrap();
        }
        client.publish(publish_request(run_id, vec![the_end()])).await.unwrap();
    })
}

/// Asserts all events of [`write_in_background`].
fn assert_whole(events: &[pb::Event], count: u64) {
    assert_eq!(seqs(events), (1..=count + 1).collect::<Vec<_>>());
    for event in &events[..events.len() - 1] {
        assert_eq!(json_of(event), format!("{{\"n\":{}}}", event.seq));
    }
}

#[tokio::test]
async fn readers_that_join_while_a_run_is_written_miss_nothing_and_see_nothing_twice() {
    let server = TestServer::start().await;
    let waiting = pb::SubscribeRequest { wait_for_run: true, ..follow_run("r") };
    let mut first = server.subscribe(waiting.clone()).await;
    let writing = write_in_background(&server, "r", 3_000).await;
    let mut readers = Vec::new();
    let mut seen = Vec::new();
    for max_batch in [1_000, 100, 3, 1] {
        seen.extend(first.events(200).await);
        readers.push(server.subscribe(pb::SubscribeRequest { max_batch, ..waiting.clone() }).await);
    }
    seen.extend(events_of(&first.rest().await));
    assert_whole(&seen, 3_000);
    for mut reader in readers {
        let received = reader.rest().await;
        assert_whole(&events_of(&received), 3_000);
        assert_eq!(received.iter().filter(|received| matches!(received, Received::CaughtUp(_))).count(), 1);
        assert_eq!(received.last(), Some(&Received::Ended(pb::RunStatus::Succeeded, 3_001)));
    }
    in_time(writing).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_falls_out_of_the_window_loses_nothing() {
    let server = TestServer::start_with(|options| {
        options.reading.hub_window_events = 4;
        options.reading.hub_window_bytes = 1 << 10;
        options.reading.max_batch_bytes = 1 << 10;
        options.connections.stream_window_bytes = 65_535;
        options.connections.connection_window_bytes = 65_535;
    })
    .await;
    let request = pb::SubscribeRequest { wait_for_run: true, max_batch: 3, ..follow_run("r") };
    let mut slow = server.subscribe(request.clone()).await;
    let mut quick = server.subscribe(request).await;
    assert_eq!(slow.next().await, Received::CaughtUp(0));
    // The slow reader pauses until all events are written: the connection fills up and the window moves on.
    write_in_background(&server, "r", 5_000).await.await.unwrap();
    assert_whole(&events_of(&quick.rest().await), 5_000);
    assert_whole(&events_of(&slow.rest().await), 5_000);
}

#[tokio::test]
async fn a_filtered_reader_gets_what_passes_and_its_cursor_passes_the_rest() {
    let server = TestServer::start().await;
    let request = pb::SubscribeRequest { wait_for_run: true, filter: types(&["rare"]), ..follow_run("r") };
    let mut reader = server.subscribe(request).await;
    assert_eq!(reader.next().await, Received::CaughtUp(0));
    for n in 1..=5 {
        server.publish("r", notes(99)).await;
        server.publish("r", vec![json_event("rare", "{}")]).await;
        assert_eq!(seqs(&reader.events(1).await), [n * 100]);
        assert_eq!(reader.cursor, (n * 100).to_string());
    }
    server.publish("r", vec![json_event("rare", "{}"), numbered(1), the_end()]).await;
    let received = reader.rest().await;
    assert_eq!(seqs(&events_of(&received)), [501]);
    assert_eq!(
        received.last(),
        Some(&Received::Ended(pb::RunStatus::Succeeded, 503)),
        "the end is received with any filter"
    );
}

#[tokio::test]
async fn a_heartbeat_comes_in_the_silence_and_carries_the_cursor() {
    let server = TestServer::start().await;
    server.publish("r", notes(3)).await;
    let mut reader = server.subscribe(pb::SubscribeRequest { heartbeat_interval: SECOND, ..follow_run("r") }).await;
    assert_eq!(reader.replay().await.1, 3);
    assert_eq!((reader.next().await, reader.cursor.as_str()), (Received::Heartbeat, "3"));
    server.publish("r", notes(1)).await;
    assert_eq!(seqs(&reader.events(1).await), [4]);
    assert_eq!((reader.next().await, reader.cursor.as_str()), (Received::Heartbeat, "4"));
}

#[tokio::test]
async fn a_heartbeat_moves_the_cursor_on_where_the_filter_lets_nothing_through() {
    let server = TestServer::start().await;
    server.publish("r", notes(3)).await;
    let filter = types(&["nothing"]);
    let request = pb::SubscribeRequest { heartbeat_interval: SECOND, filter, ..follow_run("r") };
    let mut reader = server.subscribe(request).await;
    assert_eq!((reader.next().await, reader.cursor.as_str()), (Received::CaughtUp(3), "3"));
    server.publish("r", notes(7)).await;
    while reader.cursor != "10" {
        assert_eq!(reader.next().await, Received::Heartbeat);
    }
}

#[tokio::test]
async fn a_reader_that_waits_for_a_run_receives_heartbeats() {
    let server = TestServer::start().await;
    let request = pb::SubscribeRequest { wait_for_run: true, heartbeat_interval: SECOND, ..follow_run("r") };
    let mut reader = server.subscribe(request).await;
    assert_eq!(reader.next().await, Received::CaughtUp(0));
    assert_eq!((reader.next().await, reader.cursor.as_str()), (Received::Heartbeat, "0"));
    server.publish("r", notes(1)).await;
    assert_eq!(seqs(&reader.events(1).await), [1]);
}

#[tokio::test]
async fn reading_goes_on_from_the_cursor_of_every_frame() {
    let server = TestServer::start().await;
    for _ in 0..6 {
        server.publish("r", notes(5)).await;
    }
    server.publish("r", vec![the_end()]).await;
    for filter in [None, types(&["run_end", "note"]), types(&["run_end"])] {
        let request = pb::SubscribeRequest { max_batch: 4, filter, ..follow_run("r") };
        let mut reader = server.subscribe(request.clone()).await;
        let mut cuts = Vec::new();
        let mut seen = 0;
        while let Some(received) = reader.try_next().await.unwrap() {
            seen += events_of(&[received]).len();
            cuts.push((reader.cursor.clone(), seen));
        }
        let whole = events_of(&server.subscribe(request.clone()).await.rest().await);
        for (cursor, seen) in cuts {
            let start = after(&cursor);
            let rest = server.subscribe(pb::SubscribeRequest { start, ..request.clone() }).await.rest().await;
            assert_eq!(events_of(&rest), whole[seen..], "after {cursor}");
            assert_eq!(rest.last(), Some(&Received::Ended(pb::RunStatus::Succeeded, 31)));
        }
    }
}
