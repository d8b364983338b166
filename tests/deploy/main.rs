//! The files in `deploy/`: the commands run as plain processes, the balancer runs with the deployed configuration, and
//! settings that two files share are equal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it means"
)]

mod balancer;
#[path = "../support/cluster.rs"]
mod cluster;
mod compose;
mod dockerfile;
#[path = "../support/envoy.rs"]
mod envoy;
#[path = "../support/process.rs"]
mod harness;
mod kubernetes;
mod options;
mod process;
mod replica;
mod unit;

use std::path::Path;

/// The text of a file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}
