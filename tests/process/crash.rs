//! Promise 1, and 2 and 3 across it: SIGKILL under load, again and again on one file.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::watch;

use crate::chance::Chance;
use crate::harness::{Data, Server, within};
use crate::publishers::{Publisher, Way};

const ROUNDS: u64 = 20;

/// What SQLite itself says about a copy of what the kill left: the database, and the log that was not yet moved into it.
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
async fn what_was_acknowledged_survives_kill_9_at_any_moment_and_retries_are_no_copies() {
    survives_kills("kill -9", &[]).await;
}

/// With seals and merges of a few entries and ids each, so that nearly every kill hits one half-way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_in_the_middle_of_seals_and_merges() {
    let half_way = survives_kills("kill -9 sealing", &["--seal-entries", "64", "--seal-slice-entries", "2"]).await;
    assert!(half_way > 0, "a kill hit a segment that was being written or removed");
}

/// Twenty times, or as often as `RUNLOG_CRASH_ROUNDS` says. Returns how often a segment of ids was hit half-way.
async fn survives_kills(seed: &str, options: &[&str]) -> u32 {
    let rounds = std::env::var("RUNLOG_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut chance = Chance::new(seed);
    let data = Data::new();
    let mut publishers: Vec<_> = [
        Publisher::new("unary-a", Way::Unary, 3),
        Publisher::new("unary-b", Way::Unary, 1),
        Publisher::new("batch-a", Way::Batches, 2),
        Publisher::new("batch-b", Way::Batches, 20),
        Publisher::new("stream-a", Way::Stream, 1),
        // Hundreds of runs in turn: each event is an entry of its own, so the log's end is sealed every few rounds.
        Publisher::new("stream-b", Way::Stream, 400),
        Publisher::new("stream-c", Way::Stream, 400),
    ]
    .into();
    let (mut seals, mut sealed, mut half_way) = (0, 0, 0);
    for round in 0..=rounds {
        let server = Server::with(&data.file(), options).await;
        let (mut events, mut runs) = (server.events().await, server.runs().await);
        let is_last = round == rounds;
        for run in publishers.iter_mut().flat_map(|publisher| &mut publisher.runs) {
            // A run that was complete stays as it was; it is looked at once more at the end.
            if is_last || run.verified < run.sent.len() {
                run.verify(&mut events, &mut runs, is_last).await;
            }
        }
        if is_last {
            break;
        }
        let (acks, mut acked) = watch::channel(0);
        let mut working = tokio::task::JoinSet::new();
        for publisher in publishers.drain(..) {
            working.spawn(publisher.publish(server.events().await, acks.clone()));
        }
        let moment = chance.within(1..6_000);
        within("that many acknowledgements", acked.wait_for(|acked| *acked >= moment)).await.unwrap();
        server.kill().await;
        publishers = within("the end of the publishers", working.join_all()).await;
        let (sealed_now, last, unfinished) = check_integrity(&data.file()).await;
        half_way += u32::from(unfinished > 0);
        seals += u32::from(sealed_now != sealed);
        sealed = sealed_now;
        println!("round {round}: killed after {moment} acknowledgements, sealed {sealed} of {last}");
    }
    let sent: usize = publishers.iter().flat_map(|publisher| &publisher.runs).map(|run| run.sent.len()).sum();
    println!("{sent} events, {seals} rounds with a seal, {half_way} kills while ids were written or removed");
    assert!(rounds < ROUNDS || seals > 0, "the log's end was sealed at least once");
    half_way
}
