//! Retention of a store that holds more than one pass removes in its time.

use crate::client;
use crate::cluster::Database;
use crate::harness::{Data, Server, eventually};

const BATCHES: u32 = 50;
const EVENTS_OF_A_BATCH: u32 = 500;

/// Everything is too old soon after its commit, but the newest event.
const SHORT: [&str; 4] = ["--retain-for", "20ms", "--retain-interval-ms", "100"];

async fn is_removed_faster(start: impl AsyncFn(&[&str]) -> Server) {
    let server = start(&[]).await;
    let mut events = server.events().await;
    for batch in 0..BATCHES {
        let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(300));
        let of_batch = (0..EVENTS_OF_A_BATCH).map(|_| client::event("", "step", &payload)).collect();
        events.publish(client::publish(&format!("r{}", batch % 7), of_batch)).await.unwrap();
    }
    server.terminate().await;
    assert!(server.ended().await.0.success());
    let server = start(&SHORT).await;
    let all_but_newest = f64::from(BATCHES * EVENTS_OF_A_BATCH - 1);
    eventually("a pass over many turns", async || server.metric("runlog_expired_events_total").await >= all_but_newest)
        .await;
    let log = server.says("retention has caught up").await;
    let delays = log.matches("retention is behind; it pauses for less").count();
    assert!((1..=5).contains(&delays), "once for each halving: {log}");
    eventually("no pass is left", async || server.metric("runlog_retention_pass_seconds").await == 0.0).await;
    server.terminate().await;
    assert!(server.ended().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_named_in_the_log_and_removed_in_the_end_on_sqlite() {
    let data = Data::new();
    is_removed_faster(async |options| Server::with(&data.file(), options).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_is_named_in_the_log_and_removed_in_the_end_on_postgresql() {
    let Some(database) = Database::create().await else { return };
    let url = database.url();
    is_removed_faster(async |options| Server::over(["--store", &url], options, &[]).await).await;
    database.remove().await;
}
