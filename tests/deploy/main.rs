//! What is in `deploy/`: the commands in its files are taken out of them and run as plain processes, the balancer is run
//! with its own configuration, and what two files say of one thing is the same.
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
mod envoy;
mod kubernetes;
mod options;
mod process;
mod replica;
mod unit;

use std::path::Path;

/// A file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}
