//! `--coalesce-deltas-ms`: deltas that come within the time are one commit, and one frame of each reader.

use std::time::Duration;

use futures_util::future::join_all;
use runlog::pb;
use runlog::pb::publish_stream_response::Result as Answer;
use tokio_stream::iter;

use crate::builders::{json_event, notes, publish_request};
use crate::harness::{TestServer, in_time};
use crate::reading::{Received, follow_all_runs, follow_run, json_of, seqs};

const DELTAS: usize = 20;

fn delta(n: usize) -> pb::NewEvent {
    json_event("step.progress", &format!("{{\"kind\":\"content_delta\",\"content_delta\":\"{n}\"}}"))
}

/// The time is beyond that of the test, so what ends the wait is the full commit.
async fn server() -> TestServer {
    TestServer::start_with(|options| {
        options.writing.coalesce_deltas = Duration::from_secs(3_600);
        options.connections.request_timeout = Duration::from_secs(7_200);
        options.writing.max_commit_events = DELTAS;
    })
    .await
}

#[tokio::test]
async fn deltas_of_many_publishes_reach_each_reader_in_one_frame_and_keep_their_seqs() {
    let server = server().await;
    server.publish("r", notes(1)).await;
    let mut readers = Vec::new();
    for request in [follow_run("r"), follow_run("r"), follow_all_runs()] {
        let mut reader = server.subscribe(request).await;
        assert_eq!(seqs(&reader.replay().await.0), [1]);
        readers.push(reader);
    }
    let in_stream = iter(
        (1..=DELTAS / 2).map(|n| pb::PublishStreamRequest { publish: Some(publish_request("r", vec![delta(n)])) }),
    );
    let mut answers = server.events().await.publish_stream(in_stream).await.unwrap().into_inner();
    let calls = (DELTAS / 2 + 1..=DELTAS).map(|n| server.publish("r", vec![delta(n)]));
    let called = in_time(join_all(calls)).await;
    let mut published: Vec<u64> = called.iter().map(|published| published.events[0].seq).collect();
    while let Some(answer) = in_time(answers.message()).await.unwrap() {
        let Some(Answer::Published(answer)) = answer.result else { panic!("{answer:?}") };
        published.push(answer.events[0].seq);
    }
    published.sort_unstable();
    let expected: Vec<u64> = (2..).take(DELTAS).collect();
    assert_eq!(published, expected, "one answer and one seq for each");
    for reader in &mut readers {
        let frame = loop {
            match reader.next().await {
                Received::Heartbeat => {}
                Received::Events(events) => break events,
                other => panic!("a frame of events comes next, not {other:?}"),
            }
        };
        assert_eq!(seqs(&frame), expected, "one frame");
    }
    let stored = server.everything().await;
    let mut texts: Vec<&str> = stored[1..].iter().map(json_of).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), DELTAS, "nothing was merged");
}

#[tokio::test]
async fn the_end_of_a_step_is_stored_at_once_behind_the_deltas_that_were_accepted_before_it() {
    let server = server().await;
    let requests = [delta(1), delta(2), json_event("step.done", "{}")];
    let requests = requests.map(|event| pb::PublishStreamRequest { publish: Some(publish_request("r", vec![event])) });
    let mut answers = server.events().await.publish_stream(iter(requests)).await.unwrap().into_inner();
    for seq in 1..=3 {
        let answer = in_time(answers.message()).await.unwrap().unwrap();
        let Some(Answer::Published(answer)) = answer.result else { panic!("{answer:?}") };
        assert_eq!(answer.events[0].seq, seq);
    }
    let types: Vec<String> = server.everything().await.into_iter().map(|event| event.r#type).collect();
    assert_eq!(types, ["step.progress", "step.progress", "step.done"]);
}
