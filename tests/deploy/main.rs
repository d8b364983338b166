//! The files in `deploy/`: the commands run as plain processes, the balancer runs with the deployed configuration, settings
//! that two files share are equal, and every metric of the rules and the dashboard is one of the server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it means"
)]

mod balancer;
#[allow(dead_code, reason = "this suite uses a part of it")]
#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/cluster.rs"]
mod cluster;
mod compose;
mod dockerfile;
#[path = "../support/envoy.rs"]
mod envoy;
#[path = "../support/process.rs"]
mod harness;
mod kubernetes;
mod metrics;
mod options;
mod process;
mod promql;
mod replica;
mod unit;

use std::path::Path;

/// The text of a file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}
