//! Writing: the committer and its transactions.

pub mod committer;
pub mod existing;
pub mod planned;
pub mod run_state;
pub mod transaction;
pub mod writer;
