//! The write-ahead log with a foreign reader.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::client;
use crate::harness::{Data, Server, eventually};

const FAILURES: &str = "runlog_sqlite_maintenance_failures_total{work=\"checkpoint\"}";

/// Events of 1 MB, together more than the limit of the log.
const EVENTS: usize = 90;

#[tokio::test]
async fn a_foreign_reader_that_stays_makes_the_log_grow_and_stops_nobody_and_it_is_said_once() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    events.publish(client::publish("r", vec![client::event("first", "step", "{}")])).await.unwrap();
    let mut foreign = SqliteConnectOptions::new().filename(data.file()).connect().await.unwrap();
    let mut reading = foreign.begin().await.unwrap();
    sqlx::query("SELECT count(*) FROM log").execute(&mut *reading).await.unwrap();
    for n in 0..EVENTS {
        events.publish(client::publish("r", vec![client::event(&n.to_string(), "step", &payload)])).await.unwrap();
    }
    assert!(server.metric(FAILURES).await >= 1.0, "a log that cannot restart counts as a failure");
    let log = server.says("another program has had a read transaction open").await;
    assert_eq!(log.matches("another program has had a read transaction open").count(), 1, "{log}");
    reading.rollback().await.unwrap();
    foreign.close().await.unwrap();
    let mut n = EVENTS;
    eventually("the log to restart", async || {
        n += 1;
        events.publish(client::publish("r", vec![client::event(&n.to_string(), "step", "{}")])).await.unwrap();
        server.log().contains("maintenance of the store works again")
    })
    .await;
}

#[tokio::test]
async fn a_server_that_leaves_checkpoints_to_another_program_makes_none() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--sqlite-checkpoints", "off"]).await;
    let mut events = server.events().await;
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    for n in 0..EVENTS {
        events.publish(client::publish("r", vec![client::event(&n.to_string(), "step", &payload)])).await.unwrap();
    }
    let bytes = |name: &str| std::fs::metadata(data.directory().join(name)).unwrap().len();
    let published = (EVENTS * payload.len()) as u64;
    assert!(bytes("runlog.db-wal") > published, "the log has all of it");
    assert!(bytes("runlog.db") < published, "and the database not");
    server.kill().await;
    let server = Server::start(&data.file()).await;
    assert_eq!(client::list(&mut server.events().await, "r").await.len(), EVENTS);
}
