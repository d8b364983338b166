//! A replica of the previous version beside replicas of the current version, as in a rolling upgrade.

use std::io::Write;
use std::path::PathBuf;

use runlog::pb::list_events_request::Scope;
use runlog::pb::{ListEventsRequest, NewEvent, PublishRequest};

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

/// Ids that the store gave to events, at the version before and at this one, are known at this version, and the version before lists
/// both: the form of the ids is another one.
async fn ids_of_the_store_are_known(world: &World) {
    let [before, this, other] = &world.replicas[..] else { panic!("three replicas") };
    let publish = |event_id: &str| {
        let events = vec![NewEvent { event_id: event_id.to_owned(), ..event("nameless") }];
        PublishRequest { run_id: "nameless".to_owned(), events, expected_last_seq: None }
    };
    let mut ids = Vec::new();
    for (seq, replica) in (1..).zip([before, this, before, other]) {
        let stored = replica.events().publish(publish("")).await.unwrap().into_inner().events.remove(0);
        assert_eq!((stored.seq, stored.duplicate), (seq, false));
        ids.push(stored.event_id);
    }
    assert!(ids[0].starts_with("0000") && ids[2].starts_with("0000"), "{ids:?}");
    assert!(!ids[1].starts_with('0') && !ids[3].starts_with('0'), "{ids:?}");
    for (seq, event_id) in (1..).zip(&ids) {
        for replica in [this, other] {
            let again = replica.events().publish(publish(event_id)).await.unwrap().into_inner().events.remove(0);
            assert_eq!((again.seq, again.duplicate), (seq, true), "{event_id}");
        }
    }
    for replica in &world.replicas {
        let scope = Some(Scope::RunId("nameless".to_owned()));
        let page = replica.events().list_events(ListEventsRequest { scope, ..Default::default() }).await.unwrap();
        let listed: Vec<String> = page.into_inner().events.into_iter().map(|event| event.event_id).collect();
        assert_eq!(listed, ids);
    }
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
    ids_of_the_store_are_known(&world).await;
    // The previous version cannot start again on the new schema.
    world.replicas[0].drain().await;
    let mut again = program_at(&program);
    again.args(["serve", "--listen", "127.0.0.1:0"]).env("RUNLOG_STORE", &store);
    let (status, log) = Process::of(again).ended().await;
    assert!(!status.success() && log.contains("newer"), "{log}");
}
