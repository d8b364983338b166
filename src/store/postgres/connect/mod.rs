//! Connections: session settings, statements, read pool, retries.

pub mod executor;
pub mod readers;
pub mod replication;
pub mod retry;
pub mod session;
