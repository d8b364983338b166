//! Clients that mean harm, against the real program: what they send is refused, what it costs is bounded, and honest clients
//! beside them notice nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the lints know `#[test]` functions only, and cases are called by them"
)]

mod boundary;
mod client;
mod declared_lengths;
mod floods;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "the tests of processes use the rest of it")]
mod harness;
mod honest;
mod readers;
mod requests;
