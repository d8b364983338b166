//! Live delivery: the hub, which announces commits, and the recent events in memory.

pub mod hub;
pub mod recent_events;
mod window_limits;
