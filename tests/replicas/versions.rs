//! A replica of the previous version beside replicas of the current version, as in a rolling upgrade.

use std::io::Write;
use std::path::PathBuf;

use runlog::pb::PublishRequest;

use crate::cluster::Database;
use crate::harness::{Process, program_at};
use crate::replica::Replica;
use crate::world::{RUNS, World, event};

/// The program of the previous version; `None` with a note if `tests/all.sh` could not build the program.
fn previous() -> Option<PathBuf> {
    let program = std::env::var_os("RUNLOG_TEST_PREVIOUS").map(PathBuf::from);
    if program.is_none() {
        // Directly to stderr, since the test harness captures the output of a passing test.
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: the version before: RUNLOG_TEST_PREVIOUS is not set; tests/all.sh sets it").unwrap();
    }
    program
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replica_of_the_version_before_serves_beside_this_one_until_it_is_replaced() {
    let Some(program) = previous() else { return };
    let Some(database) = Database::create().await else { return };
    let store = database.url();
    let before = Replica::of(Some(program.clone()), &store, &[]).await;
    for n in 0..40 {
        let (run_id, events) = (format!("r{}", n % RUNS), vec![event(&format!("before-{n}"))]);
        before.events().publish(PublishRequest { run_id, events, expected_last_seq: None }).await.unwrap();
    }
    // The first replica of this version migrates the schema while the previous version serves.
    let replicas = vec![before, Replica::start(&store, &[]).await, Replica::start(&store, &[]).await];
    let (world, busy) = World::begin(database, replicas);
    world.more(300).await;
    // Duplicates are known at each version, whichever version stored the event.
    for (n, replica) in (0..40).flat_map(|n| world.replicas.iter().map(move |replica| (n, replica))) {
        let (run_id, events) = (format!("r{}", n % RUNS), vec![event(&format!("before-{n}"))]);
        let again = replica.events().publish(PublishRequest { run_id, events, expected_last_seq: None }).await.unwrap();
        let again = again.into_inner().events.remove(0);
        assert_eq!((again.seq, again.duplicate), ((n / RUNS) as u64 + 1, true));
    }
    world.replicas[1].kill().await;
    world.more(150).await;
    world.replicas[1].restart().await;
    world.more(150).await;
    busy.check(&world).await;
    // The previous version cannot start again on the new schema.
    world.replicas[0].drain().await;
    let mut again = program_at(&program);
    again.args(["serve", "--listen", "127.0.0.1:0"]).env("RUNLOG_STORE", &store);
    let (status, log) = Process::of(again).ended().await;
    assert!(!status.success() && log.contains("newer"), "{log}");
}
