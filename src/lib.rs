//! runlog: the durable event log and live feed of agent runs.
//!
//! | module | content |
//! |---|---|
//! | [`domain`] | events, runs, cursors and the rules between them; no I/O |
//! | [`codec`] | the stored form of events, also the form on the wire |
//! | [`store`] | the `Store` trait, which is the contract, with SQLite and PostgreSQL |
//! | [`service`] | publish, list, subscribe, runs; the hub that wakes subscribers |
//! | [`transport`] | gRPC and the JSON gateway, as translations of service calls |
//! | [`server`] | opens the store, wires the parts, binds, serves, drains |
//! | [`config`] | every option with default and range |
//! | [`telemetry`] | every metric, and the recorder behind `/metrics` |
//! | [`cli`] | the commands of the `runlog` program |
//! | [`pb`] | code generated from `proto/runlog/v1/` |
//!
//! Write path: [`transport`] decodes a request into domain values, [`service`] checks limits, the store assigns seqs and
//! commits the events together with other waiting publishes. After the commit the hub wakes the subscribers and the producer
//! gets the response.
//!
//! Read path: a subscription joins the hub, reads the store up to the end, and continues with the commits that the hub
//! announces. On a gap the subscription reads the store again. `src/ARCHITECTURE.md` has the details.

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
