//! The stored form of events: records, and chunks of them.

mod chunk;
pub mod record;

pub use chunk::Chunk;
