//! Writing: the committer, its plan, and the state in memory that it needs.

pub mod committer;
pub mod existing;
pub mod planner;
pub mod run_state;
pub mod writer;
