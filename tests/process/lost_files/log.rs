//! Only the write-ahead log is removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{BOUND, has_all, is_in, is_refused, loses, publish, ready};
use crate::client;
use crate::harness::{Data, Server, eventually};

fn log_of(file: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", file.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_write_ahead_log_is_deleted_saves_all_that_it_acknowledged() {
    let data = Data::new();
    let file = data.file();
    let delete = || fs::remove_file(log_of(&file)).unwrap();
    let (server, acked) = loses(&file, delete, "write-ahead log of the database was deleted").await;
    server.says("was moved into the database file").await;
    server.kill().await;
    has_all(&file, acked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_write_ahead_log_is_replaced_saves_all_that_it_acknowledged() {
    let data = Data::new();
    let (file, other) = (data.file(), data.directory().join("other-wal"));
    File::create(&other).unwrap();
    let replace = || fs::rename(&other, log_of(&file)).unwrap();
    let (server, acked) = loses(&file, replace, "write-ahead log of the database was replaced").await;
    server.says("was moved into the database file").await;
    server.kill().await;
    has_all(&file, acked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_ahead_log_that_was_emptied_is_noticed_within_a_second() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    for n in 1..=50 {
        publish(&mut events, n).await.unwrap();
    }
    File::options().write(true).open(log_of(&data.file())).unwrap().set_len(0).unwrap();
    let emptied = Instant::now();
    let mut n = 50;
    let (began, refused) = loop {
        n += 1;
        let began = Instant::now();
        if let Err(refused) = publish(&mut events, n).await {
            break (began, refused);
        }
    };
    assert!(began.duration_since(emptied) <= BOUND, "the last one that was acknowledged");
    let (code, reason) = client::refusal(&refused);
    assert!(code == Code::Unavailable && ["OUTCOME_UNKNOWN", "STORE_LOST"].contains(&reason.as_str()), "{refused}");
    is_refused(&server, "emptied or overwritten").await;
    eventually("health", async || is_in(&server, ServingStatus::NotServing).await).await;
}

/// Backup programs run such a checkpoint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_by_another_program_is_no_loss() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    let options = SqliteConnectOptions::new().filename(data.file());
    for n in 1..=5 {
        publish(&mut events, n).await.unwrap();
        let mut other = SqliteConnection::connect_with(&options).await.unwrap();
        let (is_busy, ..): (bool, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut other).await.unwrap();
        assert!(!is_busy && fs::metadata(log_of(&data.file())).unwrap().len() == 0);
        other.close().await.unwrap();
        assert_eq!(ready(&server).await.0, 200);
    }
    publish(&mut events, 6).await.unwrap();
    server.kill().await;
    has_all(&data.file(), 6).await;
}
