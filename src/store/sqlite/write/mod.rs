//! Commit path: the committer, the planner, the writer, and the in-memory state of runs.

pub mod committer;
pub mod existing;
pub mod planner;
pub mod run_state;
pub mod writer;
