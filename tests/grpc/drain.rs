//! Promises 1 and 4 across a restart: acknowledged events are stored, and readers resume from their cursors.

use runlog::pb;
use tonic::Code;

use crate::builders::{json_event, notes, numbered, the_end};
use crate::harness::TestServer;
use crate::reading::{Received, after, events_of, follow_all_runs, follow_run, seqs, types};
use crate::refusal::Refusal;

#[tokio::test]
async fn draining_ends_every_subscription_with_the_cursor_to_go_on_from() {
    let mut server = TestServer::start().await;
    server.publish("r", notes(5)).await;
    let waiting = pb::SubscribeRequest { wait_for_run: true, ..follow_run("none") };
    let filtered = pb::SubscribeRequest { filter: types(&["nothing"]), ..follow_run("r") };
    let mut readers = Vec::new();
    for request in [follow_run("r"), filtered, waiting, follow_all_runs()] {
        let mut reader = server.subscribe(request).await;
        reader.replay().await;
        readers.push(reader);
    }
    server.begin_to_drain();
    for (reader, cursor) in readers.iter_mut().zip([Some("5"), Some("5"), Some("0"), None]) {
        let refusal = Refusal::of(&reader.broken().await).is(Code::Unavailable, "SHUTTING_DOWN");
        assert!(refusal.retry.is_some_and(|delay| !delay.is_zero()));
        assert_eq!(refusal.metadata["resume_cursor"], reader.cursor, "the same as the last frame's");
        assert!(cursor.is_none_or(|cursor| cursor == reader.cursor));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_resumes_after_each_restart_sees_the_run_exactly_once() {
    let mut server = TestServer::start().await;
    let mut seen = Vec::new();
    let mut start = None;
    for round in 0..4_usize {
        let request = pb::SubscribeRequest { start, wait_for_run: true, max_batch: 5, ..follow_run("r") };
        let mut reader = server.subscribe(request).await;
        server.publish("r", (1..=30).map(|n| numbered(round * 30 + n)).collect()).await;
        // A part of the events is read before the drain, the rest afterwards.
        seen.extend(reader.events(10 + round).await);
        server.begin_to_drain();
        let status = loop {
            match reader.try_next().await {
                Ok(received) => seen.extend(events_of(&[received.unwrap()])),
                Err(status) => break status,
            }
        };
        start = after(&Refusal::of(&status).metadata["resume_cursor"]);
        server.restart().await;
    }
    server.publish("r", vec![the_end()]).await;
    let rest = server.subscribe(pb::SubscribeRequest { start, ..follow_run("r") }).await.rest().await;
    seen.extend(events_of(&rest));
    assert_eq!(seqs(&seen), (1..=121).collect::<Vec<_>>());
    assert_eq!(rest.last(), Some(&Received::Ended(pb::RunStatus::Succeeded, 121)));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_stop_at_any_moment() {
    let mut server = TestServer::start().await;
    for round in 0..3_usize {
        let mut client = server.events().await;
        let (acked, mut latest) = tokio::sync::watch::channel(0_u64);
        let writing = tokio::spawn(async move {
            loop {
                let request = crate::builders::publish_request("r", notes(3));
                match client.publish(request).await {
                    Ok(response) => acked.send_replace(response.into_inner().events[2].seq),
                    Err(_) => return *acked.borrow(),
                };
            }
        });
        let enough = server.everything().await.len() as u64 + 30;
        crate::harness::in_time(latest.wait_for(|seq| *seq >= enough)).await.unwrap();
        server.restart().await;
        let acked = crate::harness::in_time(writing).await.unwrap();
        let stored = server.everything().await;
        assert_eq!(seqs(&stored), (1..=stored.len() as u64).collect::<Vec<_>>());
        assert!(stored.len() as u64 >= acked && stored.len() % 3 == 0, "round {round}");
    }
}

#[tokio::test]
async fn who_comes_during_the_drain_is_refused_at_once() {
    let mut server =
        TestServer::start_with(|options| options.connections.drain_timeout = std::time::Duration::from_millis(600_000))
            .await;
    let large = json_event("large", &format!("\"{}\"", "x".repeat(1_000_000)));
    for _ in 0..20 {
        server.publish("r", vec![large.clone()]).await;
    }
    // More is pending for this reader than fits into the connection, so the drain must wait.
    let reader = server.subscribe(follow_run("r")).await;
    let address = server.address();
    server.begin_to_drain();
    crate::harness::in_time(async { while tokio::net::TcpStream::connect(address).await.is_ok() {} }).await;
    drop(reader);
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_at_the_deadline_and_the_store_can_be_opened_again() {
    let mut server = TestServer::start_with(|options| {
        options.connections.drain_timeout = std::time::Duration::from_millis(100);
        options.connections.stream_window_bytes = 65_535;
        options.connections.connection_window_bytes = 65_535;
    })
    .await;
    let large = json_event("large", &format!("\"{}\"", "x".repeat(1_000_000)));
    for _ in 0..20 {
        server.publish("r", vec![large.clone()]).await;
    }
    let mut stuck = server.subscribe(follow_run("r")).await;
    stuck.next().await;
    server.restart().await;
    assert_eq!(server.publish("r", notes(1)).await.events[0].seq, 21);
    let start = after(&stuck.cursor);
    let mut resumed = server.subscribe(pb::SubscribeRequest { start, ..follow_run("r") }).await;
    assert_eq!(resumed.events(1).await[0].seq, stuck.cursor.parse::<u64>().unwrap() + 1);
}
