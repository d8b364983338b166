//! Promise 9 for readers: a thousand readers on one run, of which one never reads, cost bounded memory and do not slow
//! each other down.

use runlog::pb::{self, subscribe_response::Frame};
use tokio::task::JoinSet;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::client::{self, Events, event, publish};
use crate::harness::{Data, Server, within};

/// Connections of the active readers; the server takes 1,024 streams on each.
const CONNECTIONS: usize = 10;
/// Readers of the marks only, so that a thousand copies of the bulk need not cross the loopback.
const OF_MARKS: usize = 995;
/// Readers of all events.
const OF_ALL: usize = 4;
/// Bulk events of 256 KiB each, 100 MiB together; a mark follows each.
const BULK: u64 = 400;
const BULK_BYTES: usize = 256 << 10;
/// One event first, then bulk events and marks, then the end of the run.
const LAST_SEQ: u64 = 1 + 2 * BULK + 1;

/// Allowed growth of the server's memory for 100 MiB and five readers. By design the server holds SQLite's page caches
/// (32 MiB for the writer, as much for each read connection, here one), the hub's window (4 MiB), frames in flight to
/// the four readers (0.5 MiB each) and the HTTP/2 buffers of a thousand streams. A queue for the reader that never
/// reads would hold another 100 MiB.
const MAX_GROWTH_BYTES: u64 = 96 << 20;

fn marks(mut request: pb::SubscribeRequest) -> pb::SubscribeRequest {
    request.filter = Some(pb::EventFilter { types: vec!["mark".to_owned()], ..Default::default() });
    request
}

/// Reads to the end of the run; returns the received seqs.
async fn read_on(mut frames: Streaming<pb::SubscribeResponse>) -> Vec<u64> {
    let mut received = Vec::new();
    loop {
        match within("the next frame", frames.message()).await.unwrap().expect("no cut").frame.unwrap() {
            Frame::Events(batch) => received.extend(batch.events().unwrap().iter().map(|event| event.seq)),
            Frame::RunEnded(end) => {
                assert_eq!(end.last_seq, LAST_SEQ);
                return received;
            }
            Frame::CaughtUp(_) | Frame::Heartbeat(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reader_that_never_reads_costs_a_bounded_memory_and_a_thousand_others_nothing() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--read-connections", "1"]).await;
    let mut publisher = server.events().await;
    client::publish_one(&mut publisher, "r", "step", "{}").await;

    let mut readers = Vec::new();
    for _ in 0..CONNECTIONS {
        readers.push(server.events().await);
    }
    let (mut of_marks, mut of_all) = (Vec::new(), Vec::new());
    for n in 0..OF_MARKS + OF_ALL {
        let reader = &mut readers[n % CONNECTIONS];
        let request = if n < OF_MARKS { marks(client::follow("r")) } else { client::follow("r") };
        let mut frames = reader.subscribe(request).await.unwrap().into_inner();
        client::caught_up(&mut frames).await;
        if n < OF_MARKS { of_marks.push(frames) } else { of_all.push(frames) }
    }
    let channel = Endpoint::from_shared(server.url()).unwrap().initial_stream_window_size(65_535);
    let channel = channel.initial_connection_window_size(65_535).connect().await.unwrap();
    let mut never_read = Events::new(channel).subscribe(client::follow("r")).await.unwrap().into_inner();
    client::caught_up(&mut never_read).await;

    let before = server.memory_bytes();
    let (mut marks_received, mut all_received) = (JoinSet::new(), JoinSet::new());
    for frames in of_marks {
        marks_received.spawn(read_on(frames));
    }
    for frames in of_all {
        all_received.spawn(read_on(frames));
    }
    let bulk = format!("\"{}\"", "x".repeat(BULK_BYTES));
    let (mut expected_marks, mut peak) = (Vec::new(), before);
    for _ in 0..BULK {
        let events = vec![event("", "bulk", &bulk), event("", "mark", "{}")];
        let answer = publisher.publish(publish("r", events)).await.expect("publishing goes on").into_inner();
        expected_marks.push(answer.events[1].seq);
        peak = peak.max(server.memory_bytes());
    }
    client::publish_one(&mut publisher, "r", "run_end", "{}").await;
    for received in marks_received.join_all().await {
        assert_eq!(received, expected_marks);
    }
    let everything: Vec<u64> = (2..=LAST_SEQ).collect();
    for received in all_received.join_all().await {
        assert_eq!(received, everything);
    }
    peak = peak.max(server.memory_bytes());
    println!("{} MiB with 1,000 readers, at most {} MiB more", before >> 20, (peak - before) >> 20);
    assert!(peak - before < MAX_GROWTH_BYTES, "{} bytes more than {before}", peak - before);
    // The reader was connected all the time, and could still read all events.
    drop(never_read);
    assert_eq!(client::list_after(&mut publisher, "r", LAST_SEQ - 2).await.unwrap().len(), 2);
}
