//! `/metrics` shows the commits of every store.

use crate::client;
use crate::cluster::Database;
use crate::harness::{Data, Server, eventually};

async fn shows_its_commits(server: &Server) {
    let mut events = server.events().await;
    let event = |id| client::event(id, "step", "{}");
    events.publish(client::publish("r", vec![event("1"), event("2")])).await.unwrap();
    events.publish(client::publish("s", vec![event("3")])).await.unwrap();
    // A repeat stores nothing.
    events.publish(client::publish("s", vec![event("3")])).await.unwrap();
    assert_eq!(server.metric("runlog_published_events_total").await, 3.0);
    assert_eq!(server.metric("runlog_commit_events_sum").await, 3.0);
    assert_eq!(server.metric("runlog_commit_events_count").await, 2.0);
    assert_eq!(server.metric("runlog_commit_seconds_count").await, 2.0);
    assert!(server.metric("runlog_commit_seconds_sum").await > 0.0);
}

#[tokio::test]
async fn commits_on_sqlite_are_counted_with_their_events_and_times() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    shows_its_commits(&server).await;
    // Measured every few seconds.
    for series in ["runlog_sqlite_file_bytes{file=\"wal\"}", "runlog_sqlite_disk_free_bytes", "runlog_ready"] {
        eventually(series, async || server.metric(series).await > 0.0).await;
    }
}

#[tokio::test]
async fn commits_on_postgresql_are_counted_with_their_events_and_times() {
    let Some(database) = Database::create().await else { return };
    shows_its_commits(&Server::on(&database.url()).await).await;
}
