//! Promise 1, and promises 2 and 3 across crashes: SIGKILL under load, repeatedly on one file.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::{Data, Server};
use crate::load::{Load, kill_after};
use crate::rng::Rng;

const ROUNDS: u64 = 20;

/// SQLite's integrity check on a copy of the files after the kill: the database, and the write-ahead log before its
/// checkpoint.
async fn check_integrity(file: &Path) -> (i64, i64, i64) {
    let copies = Data::new();
    std::fs::copy(file, copies.file()).unwrap();
    let wal = |path: &Path| std::path::PathBuf::from(format!("{}-wal", path.display()));
    if wal(file).exists() {
        std::fs::copy(wal(file), wal(&copies.file())).unwrap();
    }
    let options = SqliteConnectOptions::new().filename(copies.file());
    let mut copy = SqliteConnection::connect_with(&options).await.unwrap();
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut copy).await.unwrap();
    assert_eq!(found, ["ok"]);
    let ends = "SELECT sealed_pos, (SELECT max(pos + count - 1) FROM log), (SELECT count(*) FROM id_segments WHERE live = 0) \
        FROM store";
    let ends = sqlx::query_as(ends).fetch_one(&mut copy).await.unwrap();
    copy.close().await.unwrap();
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_9_at_any_moment_and_retries_are_no_copies() {
    // A quarter of the default, so that the few events of twenty rounds are flushed for certain.
    survives_kills("kill -9", &["--flush-entries", "4096"]).await;
}

/// With flushes and compactions of a few entries and ids each, so that most kills interrupt one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_9_in_the_middle_of_flushes_and_compactions() {
    let half_way = survives_kills("kill -9 flushing", &["--flush-entries", "64", "--flush-slice-entries", "2"]).await;
    assert!(half_way > 0, "a kill hit a segment that was being written or removed");
}

/// Deltas that wait are not acknowledged yet, so no kill may lose an acknowledged one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_events_survive_kill_9_while_deltas_wait_for_further_ones() {
    survives_kills("kill -9 coalescing", &["--flush-entries", "4096", "--coalesce-deltas-ms", "5"]).await;
}

/// Twenty rounds, or `RUNLOG_CRASH_ROUNDS`. Returns the number of kills within the write or removal of an id segment.
async fn survives_kills(seed: &str, options: &[&str]) -> u32 {
    let rounds = std::env::var("RUNLOG_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut chance = Rng::new(seed);
    let data = Data::new();
    let mut load = Load::new();
    let (mut flushes, mut flushed, mut half_way) = (0, 0, 0);
    for round in 0..=rounds {
        let server = Server::with(&data.file(), options).await;
        let is_last = round == rounds;
        load.verify(&server, is_last).await;
        if is_last {
            break;
        }
        let moment = chance.within(1..6_000);
        load.publish(server, async |server, acked| kill_after(moment, server, acked).await).await;
        let (flushed_now, last, unfinished) = check_integrity(&data.file()).await;
        half_way += u32::from(unfinished > 0);
        flushes += u32::from(flushed_now != flushed);
        flushed = flushed_now;
        println!("round {round}: killed after {moment} acknowledgements, flushed {flushed} of {last}");
    }
    let sent = load.sent();
    println!("{sent} events, {flushes} rounds with a flush, {half_way} kills while ids were written or removed");
    assert!(rounds < ROUNDS || flushes > 0, "the log's end was flushed at least once");
    half_way
}
