//! Follower of the feed: announces the commits of all replicas.

pub mod follower;
pub mod signals;
