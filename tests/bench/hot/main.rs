//! Micro-benchmarks of the hot functions: `cargo bench`, or `cargo bench -- append` for a part of them. `runlog bench`
//! measures a whole server.
//!
//! `cargo test --bench hot` runs each function once.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a bench that cannot go on fails")]

mod events;
mod hub;
mod scratch;
mod store;
mod values;

criterion::criterion_main!(values::benches, store::benches, hub::benches);
