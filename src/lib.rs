//! runlog: the durable event log and live feed of agent runs.
//!
//! | module | what |
//! |---|---|
//! | [`domain`] | events, runs, cursors and the rules between them; no I/O |
//! | [`store`] | where events are kept; the trait is the contract |
//! | [`service`] | publish, list, subscribe; the hub that wakes subscribers |
//! | [`transport`] | gRPC on the outside, the service on the inside |
//! | [`app`] | opens, wires, binds, serves, drains |
//! | [`config`] | every option with its default and bound |
//! | [`cli`] | the commands |
//! | [`pb`] | generated from `proto/runlog/v1/` |
//!
//! An event's way in: transport decodes it into domain values, [`service`] checks limits, the store numbers it and commits
//! it with all that waits, and only then the hub tells the subscribers and the producer gets its answer. Its way out: a
//! subscription arms the hub, reads the store up to the end, and goes on with what the hub tells; on any doubt it reads
//! the store again.

pub mod cli;
pub mod codec;
pub mod config;
pub mod domain;
pub mod pb;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod transport;
