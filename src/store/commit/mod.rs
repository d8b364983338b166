//! The commit path of an append, shared by all stores: queue, plan, encoding into rows.

pub mod backpressure;
pub mod existing;
pub mod group;
pub mod held_appends;
pub mod metrics;
pub mod parts;
pub mod plan;
pub mod progress;
pub mod queue;
pub mod queue_depth;
pub mod queue_options;
pub mod queue_receiver;
pub mod reply;
pub mod row_builder;
pub mod run_plan;
