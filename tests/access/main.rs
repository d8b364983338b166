//! Keys: who may call what, over gRPC and REST, and how keys end. Servers in this process, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it means")]

#[path = "../support/cluster.rs"]
mod cluster;
mod first_key;
mod harness;
mod key_service;
mod limits;
mod matrix;
mod projects;
mod replicas;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod server;
mod streams;
mod tokens;
mod views;
