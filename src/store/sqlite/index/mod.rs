//! Indexes behind the log: the end of the log that no index covers yet, its flush into the indexes, and event ids.

pub mod flush;
pub mod id_index;
pub mod unindexed_tail;
