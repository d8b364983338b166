//! Write path: the committer, one attempt, and the statements of a transaction.

pub mod committer;
pub mod existing;
mod imported;
pub mod in_doubt;
pub mod planned;
pub mod run_state;
pub mod transaction;
pub mod writer;
