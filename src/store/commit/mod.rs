//! The path of an append to its commit, shared by all stores: queue, plan, rows.

pub mod plan;
pub mod progress;
pub mod queue;
pub mod queue_depth;
pub mod reply;
pub mod row_builder;
pub mod run_plan;
