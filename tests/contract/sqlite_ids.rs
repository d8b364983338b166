//! Promise 3 on SQLite: ids stay known through flushes, compactions and the migration from the first schema.

use std::path::Path;

use runlog::domain::EventId;
use runlog::store::SharedStore;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::fixture::*;

fn id(n: usize) -> String {
    format!("id-{n}")
}

async fn publish(store: &SharedStore, ids: std::ops::Range<usize>) {
    let all: Vec<usize> = ids.collect();
    for (at, ids) in all.chunks(40).enumerate() {
        let events = ids.iter().map(|n| with_id(&id(*n), event("x"))).collect();
        store.append(append(&format!("r{}", at % 3), events)).await.unwrap();
    }
}

/// Every id is a duplicate in its run, is found without a run, and is new in another run.
async fn are_known(store: &SharedStore, ids: std::ops::Range<usize>) {
    let all: Vec<usize> = ids.collect();
    for (at, ids) in all.chunks(40).enumerate() {
        let events: Vec<_> = ids.iter().map(|n| with_id(&id(*n), event("x"))).collect();
        let again = store.append(append(&format!("r{}", at % 3), events)).await.unwrap();
        assert!(duplicates(&again).into_iter().all(|duplicate| duplicate), "{ids:?}");
        let other = vec![with_id(&id(ids[0]), event("y"))];
        assert_eq!(reason(store.append(append(&format!("r{}", at % 3), other)).await), "EVENT_ID_CONFLICT");
        let found = store.find_event(None, &EventId::parse(&id(ids[0])).unwrap()).await.unwrap();
        assert_eq!((found.run_id.to_string(), found.event_id.to_string()), (format!("r{}", at % 3), id(ids[0])));
    }
}

async fn numbers(path: &Path, sql: &'static str) -> i64 {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ids_are_known_through_flushes_compactions_and_restarts_and_segments_stay_few() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    for part in 0..4 {
        let store = fixture.open(tuning(3)).await.0;
        are_known(&store, 0..part * 1_200).await;
        publish(&store, part * 1_200..(part + 1) * 1_200).await;
        are_known(&store, 0..(part + 1) * 1_200).await;
        store.close().await;
        let flushes = numbers(&path, "SELECT sealed_pos / 120 FROM store").await;
        let segments = numbers(&path, "SELECT count(*) FROM id_segments WHERE live").await;
        assert!(flushes >= 9 && segments <= 4, "{flushes} flushes, {segments} segments");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_ids_of_the_first_schema_move_at_the_next_start() {
    let fixture = SqliteFixture::here();
    let path = fixture.options(Tuning::default()).path;
    let store = fixture.open(ALWAYS_FLUSHED).await.0;
    publish(&store, 0..2_400).await;
    store.close().await;
    drop(store);
    let mut old = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::raw_sql(
        "DELETE FROM id_segments; DELETE FROM id_blocks; DELETE FROM id_filters;
         CREATE TABLE event_ids_to_move (hash INTEGER NOT NULL, run INTEGER NOT NULL, seq INTEGER NOT NULL,
         PRIMARY KEY (hash, run, seq)) STRICT, WITHOUT ROWID",
    )
    .execute(&mut old)
    .await
    .unwrap();
    for n in 0..2_400_u32 {
        let hash = xxhash_rust::xxh3::xxh3_64(id(n as usize).as_bytes()).cast_signed();
        let (run, seq) = (n / 40 % 3 + 1, n / 120 * 40 + n % 40 + 1);
        let row = sqlx::query("INSERT INTO event_ids_to_move VALUES (?, ?, ?)");
        row.bind(hash).bind(run).bind(seq).execute(&mut old).await.unwrap();
    }
    old.close().await.unwrap();
    let store = fixture.opened().await;
    are_known(&store, 0..2_400).await;
    store.close().await;
    assert_eq!(numbers(&path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'event_ids%'").await, 0);
    assert_eq!(numbers(&path, "SELECT places FROM id_segments WHERE live").await, 2_400);
}
