//! SIGKILL at any moment while retention and erasure work beside publishers.

use crate::harness::Data;
use crate::remover;
use crate::rng::Rng;

const ROUNDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_of_a_removal_loses_no_kept_event_and_brings_no_erased_one_back() {
    let data = Data::new();
    let mut chance = Rng::new("removal");
    let mut printed = String::new();
    for _ in 0..ROUNDS {
        let process = remover::start(&data.file(), u64::MAX >> 1, &[]);
        let erasures = chance.within(1..8);
        let enough = format!("{erasures} erasures");
        let seen = std::cell::Cell::new(0);
        process
            .prints(&enough, |line| {
                seen.set(if line.starts_with("running") {
                    0
                } else {
                    seen.get() + u64::from(line.starts_with("erased"))
                });
                seen.get() >= erasures
            })
            .await;
        let said = process.output();
        process.kill().await;
        printed.push_str(&said);
        remover::verify(&data.file(), &printed).await;
    }
    assert!(printed.lines().filter(|line| line.starts_with("erased")).count() >= ROUNDS);
}
