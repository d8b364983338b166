//! Promise 1 across power losses: unsynced data is lost in part or as a whole, and acknowledged events are kept.

mod disk;

use std::collections::HashMap;

use crate::client::{self, publish_one};
use crate::command::run;
use crate::harness::{Process, Server, within};
use crate::load::{Load, kill_after};
use crate::rng::Rng;
use disk::{Behaviour, Disk};

const ROUNDS: u64 = 5;

/// Percentage of sectors that reach the disk before a sync: none, few, half, most, all.
const WRITE_BACK: [u64; 5] = [0, 5, 50, 90, 100];

/// More syncs than a start needs.
const AFTER_START: u64 = 50;

impl Disk {
    async fn start(&self, options: &[&str], behaviour: Behaviour) -> Server {
        Server::over(["--data", self.file().to_str().unwrap()], options, &self.environment(behaviour)).await
    }

    /// Asserts the result of `runlog check`.
    async fn is_sound(&self) {
        let file = self.file();
        let checked = ["check", "--deep", "--listen", "127.0.0.1:0", "--data", file.to_str().unwrap()];
        run("http://127.0.0.1:1", &checked).await.succeeds();
    }
}

fn seed(chance: &mut Rng) -> u64 {
    chance.within(0..1 << 62)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_power_losses_that_keep_any_part_of_what_was_not_synced() {
    let rounds = std::env::var("RUNLOG_POWER_LOSS_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let mut chance = Rng::new("power loss");
    let (mut disk, mut load) = (Disk::new(), Load::new());
    for round in 0..=rounds {
        disk.is_sound().await;
        let write_back = WRITE_BACK[(round % 5) as usize];
        // In every other round the power is lost in the middle of a sync, of any file.
        let at_sync = if round % 2 == 1 { chance.within(AFTER_START..600) } else { 0 };
        let behaviour = Behaviour { write_back, at_sync, syncs_lie: false, seed: seed(&mut chance) };
        // Flushes and compactions of a few entries and ids each, so that the power loss interrupts many.
        let options: &[&str] =
            if round % 4 == 2 { &[] } else { &["--flush-entries", "64", "--flush-slice-entries", "2"] };
        let server = disk.start(options, behaviour).await;
        let is_last = round == rounds;
        load.verify(&server, is_last).await;
        if is_last {
            break;
        }
        let moment = chance.within(1..6_000);
        load.publish(server, async |server, acked| match at_sync {
            0 => kill_after(moment, server, acked).await,
            _ => drop(server.ended().await),
        })
        .await;
        println!("round {round}: {} events sent, {behaviour:?}", load.sent());
        disk.lose_power();
    }
}

/// The control: with syncs that keep nothing, the test finds the loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_syncs_are_a_lie_acknowledged_events_are_lost() {
    for syncs_lie in [false, true] {
        let (mut disk, mut load) = (Disk::new(), Load::new());
        let server = disk.start(&[], Behaviour { syncs_lie, ..Behaviour::default() }).await;
        load.publish(server, async |server, acked| kill_after(1_000, server, acked).await).await;
        let acked: HashMap<String, usize> = load.acked().map(|(run, acked)| (run.to_owned(), acked)).collect();
        disk.lose_power();
        let server = disk.start(&[], Behaviour::default()).await;
        let mut events = server.events().await;
        let mut lost = 0;
        for (run, acked) in acked {
            let stored = client::list_after(&mut events, &run, 0).await.map_or(0, |stored| stored.len());
            lost += acked.saturating_sub(stored);
        }
        server.kill().await;
        assert_eq!(lost > 0, syncs_lie, "{lost} acknowledged events are gone");
    }
}

/// With any part of a new file on the disk, the next start creates a store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_in_any_sync_of_the_first_start_leaves_a_file_that_serves() {
    let mut chance = Rng::new("power loss at the first start");
    for at_sync in 1..AFTER_START {
        let mut disk = Disk::new();
        let write_back = WRITE_BACK[(at_sync % 5) as usize];
        let behaviour = Behaviour { write_back, at_sync, syncs_lie: false, seed: seed(&mut chance) };
        let file = disk.file();
        let process = Process::over(["--data", file.to_str().unwrap()], &[], &disk.environment(behaviour));
        let serves = within("a start or a death", process.serves_or_ends()).await;
        if serves {
            assert!(at_sync > 3, "a start syncs");
            return;
        }
        disk.lose_power();
        let server = disk.start(&[], Behaviour::default()).await;
        assert_eq!(publish_one(&mut server.events().await, "r", "step", "{}").await, 1, "after {behaviour:?}");
        server.kill().await;
        disk.lose_power();
        disk.is_sound().await;
        let server = disk.start(&[], Behaviour::default()).await;
        assert_eq!(client::list(&mut server.events().await, "r").await.len(), 1, "after {behaviour:?}");
    }
    panic!("a start needs {AFTER_START} syncs or more");
}
