//! Hostile clients against the real program: their requests are refused, their cost is bounded, and honest clients
//! beside them are not affected.

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
mod harness;
mod honest;
mod limits;
mod readers;
mod requests;
