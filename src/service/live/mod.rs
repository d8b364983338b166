//! Live delivery: the hub of commits and the recent events that it keeps.

pub mod hub;
pub mod recent_events;
