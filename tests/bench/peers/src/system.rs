//! The interface of a system under load.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::meter::{Period, Tally};

/// Connections for publishers.
pub const CONNECTIONS: usize = 4;

/// Unanswered messages of one publish stream.
pub const STREAM_WINDOW: usize = 1_000;

/// Runs, streams, subjects or tags of a workload.
pub const RUNS: usize = 1_000;

/// The systems, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The runlog server.
    Runlog,
    /// The limit: a tonic service with the same messages that stores nothing.
    Empty,
    /// UmaDB.
    UmaDb,
    /// NATS JetStream.
    Nats,
    /// Redis streams.
    Redis,
}

impl Name {
    /// All systems.
    pub const ALL: [Self; 5] = [Self::Runlog, Self::Empty, Self::UmaDb, Self::Nats, Self::Redis];

    /// The name in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runlog => "runlog",
            Self::Empty => "empty",
            Self::UmaDb => "UmaDB",
            Self::Nats => "NATS",
            Self::Redis => "Redis",
        }
    }
}

/// Events that arrived in one message.
pub struct Part {
    /// Number of events.
    pub events: u64,
    /// Bytes that contain the first event.
    pub first: Bytes,
}

/// A system under load.
#[async_trait]
pub trait System: Send + Sync {
    /// Publishes to one run and waits for the acknowledgement. `worker` chooses the connection.
    async fn publish(&self, worker: usize, run: &str, payloads: &[Bytes]) -> Result<()>;

    /// Publishes one event per message, pipelined, until the period ends; `None` for a system without publish streams.
    async fn stream(self: Arc<Self>, worker: usize, window: Period) -> Result<Option<Tally>>;

    /// Reads a run from its first event; returns the number of events.
    async fn replay(&self, run: &str, events: usize) -> Result<u64>;

    /// Subscribes to the new events of a run.
    async fn follow(&self, worker: usize, run: &str) -> Result<BoxStream<'static, Result<Part>>>;
}
