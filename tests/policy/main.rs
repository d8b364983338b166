//! The house itself: layers as the design says, documents whose commands run, and nothing in the tree that should not be.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

#[path = "../support/cluster.rs"]
mod cluster;
mod dependencies;
mod layers;
mod readme;
mod replicas;
