//! Follower of the feeds: announces the commits of all replicas.

pub mod announcer;
pub mod follower;
mod part;
mod removals;
pub mod replica;
pub mod signals;
