//! The REST gateway over real HTTP: every route of every API, byte for byte as documented.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

mod across_apis;
mod ag_ui;
mod ag_ui_bounds;
mod agent_sdk;
mod bodies;
mod console;
mod description;
mod event_ids;
mod exchanges;
mod finish;
mod harness;
mod public_runs;
mod questions;
mod request_ids;
mod retention;
mod routes;
mod run_ids;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod server;
mod shared;
mod stored_events;
mod structure_runs;
mod times;
mod views;
mod waiting;
