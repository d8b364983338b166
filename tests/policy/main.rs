//! Rules of the repository: layers, documents whose commands run, licences of dependencies, and words.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

#[path = "../support/cluster.rs"]
mod cluster;
mod dependencies;
#[path = "../support/process.rs"]
mod harness;
mod keys_page;
mod layers;
mod readme;
mod reasons;
mod replicas;
mod rooms;
mod words;
