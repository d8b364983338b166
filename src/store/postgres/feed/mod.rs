//! Follower of the feeds: announces the commits of all replicas.

pub mod announcer;
pub mod follower;
pub mod signals;
