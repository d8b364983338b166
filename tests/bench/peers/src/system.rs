//! What is asked of every system.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::meter::{Tally, RecentEvents};

/// Connections that publishes are spread over.
pub const CONNECTIONS: usize = 4;

/// Messages of one publish stream that wait for their answer.
pub const STREAM_WINDOW: usize = 1_000;

/// Runs, streams, subjects or tags that events are spread over.
pub const RUNS: usize = 1_000;

/// Who is measured. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// This program.
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
    /// All.
    pub const ALL: [Self; 5] = [Self::Runlog, Self::Empty, Self::UmaDb, Self::Nats, Self::Redis];

    /// For the table.
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

/// Events that arrived together.
pub struct Part {
    /// How many.
    pub events: u64,
    /// Bytes that the first of them lies in.
    pub first: Bytes,
}

/// A system under load.
#[async_trait]
pub trait System: Send + Sync {
    /// Publishes to one run and returns after the answer. `worker` chooses the connection.
    async fn publish(&self, worker: usize, run: &str, payloads: &[Bytes]) -> Result<()>;

    /// Publishes one event a message, pipelined, until the window closes; `None` where there is no such way.
    async fn stream(self: Arc<Self>, worker: usize, window: RecentEvents) -> Result<Option<Tally>>;

    /// Reads a run from its first event; returns how many events came.
    async fn replay(&self, run: &str, events: usize) -> Result<u64>;

    /// Follows a run from now on.
    async fn follow(&self, worker: usize, run: &str) -> Result<BoxStream<'static, Result<Part>>>;
}
