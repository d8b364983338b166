//! Promises 1 to 6 with several real server processes on one PostgreSQL database: across kills, disconnects and
//! restarts, every reader on every replica gets every event once and in order, and acknowledged events are stored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what it means"
)]

mod balanced;
#[path = "../support/cluster.rs"]
mod cluster;
mod controls;
#[path = "../support/envoy.rs"]
mod envoy;
mod faults;
#[path = "../support/process.rs"]
mod harness;
mod page;
#[path = "../support/proxy.rs"]
mod proxy;
mod reader;
mod replica;
mod versions;
mod world;
mod writers;
