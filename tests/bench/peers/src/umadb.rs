//! UmaDB: an event of a run is an event with the run as its tag.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _};

use crate::grpc::Connections;
use crate::meter::{Period, Tally};
use crate::system::{Part, System};

/// The fields of `umadb.v1` that the workloads use.
mod wire {
    use prost::bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Event {
        #[prost(string, tag = "1")]
        pub event_type: String,
        #[prost(string, repeated, tag = "2")]
        pub tags: Vec<String>,
        #[prost(bytes = "bytes", tag = "3")]
        pub data: Bytes,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct AppendRequest {
        #[prost(message, repeated, tag = "1")]
        pub events: Vec<Event>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Position {
        #[prost(uint64, optional, tag = "1")]
        pub position: Option<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct HeadRequest {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct QueryItem {
        #[prost(string, repeated, tag = "2")]
        pub tags: Vec<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Query {
        #[prost(message, repeated, tag = "1")]
        pub items: Vec<QueryItem>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ReadRequest {
        #[prost(message, optional, tag = "1")]
        pub query: Option<Query>,
        #[prost(uint32, optional, tag = "6")]
        pub batch_size: Option<u32>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct SubscribeRequest {
        #[prost(message, optional, tag = "1")]
        pub query: Option<Query>,
        #[prost(uint64, optional, tag = "2")]
        pub after: Option<u64>,
    }

    /// The serialized events of a `ReadResponse` or a `SubscribeResponse`.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Events {
        #[prost(bytes = "bytes", repeated, tag = "1")]
        pub events: Vec<Bytes>,
    }
}

/// Events of one message of a read.
const BATCH: u32 = 1_000;

/// Connections to a UmaDB server.
pub struct UmaDb(pub Connections);

#[async_trait]
impl System for UmaDb {
    async fn publish(&self, worker: usize, run: &str, payloads: &[Bytes]) -> Result<()> {
        let event = |data: &Bytes| wire::Event {
            event_type: "step".to_owned(),
            tags: vec![run.to_owned()],
            data: data.clone(),
        };
        let append = wire::AppendRequest { events: payloads.iter().map(event).collect() };
        let _: wire::Position = self.0.unary(worker, "/umadb.v1.DCB/Append", append).await?;
        Ok(())
    }

    async fn stream(self: Arc<Self>, _worker: usize, _window: Period) -> Result<Option<Tally>> {
        // UmaDB has no publish stream.
        Ok(None)
    }

    async fn replay(&self, run: &str, _events: usize) -> Result<u64> {
        let request = wire::ReadRequest { query: Some(query(run)), batch_size: Some(BATCH) };
        let mut frames = self.0.server_streaming::<_, wire::Events>(0, "/umadb.v1.DCB/Read", request).await?;
        let mut seen = 0;
        while let Some(frame) = frames.message().await? {
            seen += frame.events.len() as u64;
        }
        Ok(seen)
    }

    async fn follow(&self, worker: usize, run: &str) -> Result<BoxStream<'static, Result<Part>>> {
        // The subscription delivers the events after the current head.
        let head: wire::Position = self.0.unary(worker, "/umadb.v1.DCB/Head", wire::HeadRequest {}).await?;
        let request = wire::SubscribeRequest { query: Some(query(run)), after: head.position };
        let frames = self.0.server_streaming::<_, wire::Events>(worker, "/umadb.v1.DCB/Subscribe", request).await?;
        let part = |frame: Result<wire::Events, tonic::Status>| {
            let events = frame?.events;
            Ok(Part { events: events.len() as u64, first: events.into_iter().next().unwrap_or_default() })
        };
        Ok(frames.map(part).boxed())
    }
}

fn query(run: &str) -> wire::Query {
    wire::Query { items: vec![wire::QueryItem { tags: vec![run.to_owned()] }] }
}
