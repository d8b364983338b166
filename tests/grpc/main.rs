//! The promises of `proto/README.md`, proved against the real server over TCP: each test starts a server on a free port
//! with a store in a temporary directory. No test sleeps: a test waits for an answer or a frame.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod builders;
mod embedded;
mod harness;
mod reading;
mod refusal;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod server;

mod bounds;
mod coalescing;
mod control;
mod create_run;
mod cursors;
mod drain;
mod examples;
mod lifecycle;
mod list;
mod list_filtered;
mod list_runs;
mod malformed;
mod overload;
mod payloads;
mod projections;
mod publish;
mod publish_stream;
mod read_ahead;
mod reconnect;
mod retention;
mod standard_services;
mod subscribe_all_runs;
mod subscribe_end;
mod subscribe_live;
mod subscribe_start;
mod summaries;
mod times;
mod views;
mod web;
