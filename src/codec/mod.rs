//! The stored form of events: records, and chunks of records.

mod chunk;
pub mod record;

pub use chunk::Chunk;
