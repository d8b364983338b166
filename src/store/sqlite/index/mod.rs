//! Indexes: event ids, and the end of the log that no index covers yet.

pub mod flush;
pub mod id_index;
pub mod unindexed_tail;
