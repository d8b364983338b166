//! The hot functions by themselves: `cargo bench`, or `cargo bench -- append` for some of them. What a whole server does
//! is measured by `runlog bench`.
//!
//! `cargo test --bench hot` runs each once, to see that it works.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a bench that cannot go on fails")]

mod events;
mod hub;
mod scratch;
mod store;
mod values;

criterion::criterion_main!(values::benches, store::benches, hub::benches);
