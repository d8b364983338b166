//! The JSON gateway over real HTTP: every route of every door, to the byte where it is documented.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

mod bodies;
mod cross_door;
mod door_a;
mod door_b;
mod door_c;
mod event_ids;
mod harness;
mod questions;
mod run_ids;
mod shared;
mod times;
mod views;
