//! The real program as a process: killed under load, drained, failing to start, on a full disk, with slow readers; its
//! command line; and the commands on a store beside `serve`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "what a test measured and drew; cargo shows it where the test fails")]

#[path = "../support/certificates.rs"]
mod certificates;
mod client;
#[path = "../support/cluster.rs"]
mod cluster;
mod command;
#[path = "../support/process.rs"]
mod harness;
mod ledger;
mod load;
mod preload;
mod publishers;
mod remover;
#[path = "../support/rng.rs"]
mod rng;

mod backup;
mod bench;
mod check_and_migrate;
mod command_line;
mod commands;
mod commands_across;
mod crash;
mod damage;
mod disk_errors;
mod disk_full;
mod drain;
mod failover;
mod failpoints;
mod fan_out;
mod health;
mod help;
mod history;
mod keys;
mod leaks;
mod litestream;
mod lost_files;
mod metrics;
mod owners;
mod power_loss;
mod removal_crash;
mod restore;
mod resume;
mod retention;
mod retention_backlog;
mod secrets;
mod start;
mod tls;
mod transfer;
mod transfer_foreign;
mod transfer_refusals;
mod transfer_shortened;
mod wal;
