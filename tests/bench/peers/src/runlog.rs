//! runlog, and the empty service with the same API.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _, unfold};
use tokio::sync::mpsc;

use crate::grpc::{Connections, count};
use crate::meter::{Period, Tally, payload};
use crate::system::{Part, STREAM_WINDOW, System};
use crate::workload::run_of;

/// The fields of `runlog.v1` that the workloads use; `proto/` has all of them.
pub mod wire {
    use prost::bytes::Bytes;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PublishRequest {
        #[prost(string, tag = "1")]
        pub run_id: String,
        #[prost(message, repeated, tag = "2")]
        pub events: Vec<NewEvent>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct NewEvent {
        #[prost(string, tag = "2")]
        pub r#type: String,
        #[prost(message, optional, tag = "6")]
        pub payload: Option<Payload>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Payload {
        #[prost(string, tag = "2")]
        pub json: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PublishResponse {
        #[prost(message, repeated, tag = "1")]
        pub events: Vec<PublishedEvent>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PublishedEvent {
        #[prost(uint64, tag = "1")]
        pub seq: u64,
        #[prost(string, tag = "2")]
        pub event_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PublishStreamRequest {
        #[prost(message, optional, tag = "1")]
        pub publish: Option<PublishRequest>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PublishStreamResponse {
        #[prost(message, optional, tag = "1")]
        pub published: Option<PublishResponse>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct SubscribeRequest {
        #[prost(string, tag = "1")]
        pub run_id: String,
        #[prost(message, optional, tag = "4")]
        pub latest: Option<()>,
        #[prost(int32, tag = "7")]
        pub payload_format: i32,
        #[prost(int32, tag = "8")]
        pub view: i32,
        #[prost(uint32, tag = "11")]
        pub max_batch: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct SubscribeResponse {
        #[prost(string, tag = "1")]
        pub cursor: String,
        /// A serialized `EventBatch`.
        #[prost(bytes = "bytes", tag = "2")]
        pub events: Bytes,
    }
}

/// Paths of the methods.
pub const PUBLISH: &str = "/runlog.v1.EventService/Publish";
pub const PUBLISH_STREAM: &str = "/runlog.v1.EventService/PublishStream";
pub const SUBSCRIBE: &str = "/runlog.v1.EventService/Subscribe";

/// `PAYLOAD_FORMAT_JSON` and `EVENT_VIEW_FULL`.
const JSON: i32 = 2;
const FULL: i32 = 2;

/// A server that speaks `runlog.v1`.
pub struct Runlog(pub Connections);

fn request(run: &str, payloads: &[Bytes]) -> wire::PublishRequest {
    let event = |payload: &Bytes| {
        let json = String::from_utf8_lossy(payload).into_owned();
        wire::NewEvent { r#type: "step".to_owned(), payload: Some(wire::Payload { json }) }
    };
    wire::PublishRequest { run_id: run.to_owned(), events: payloads.iter().map(event).collect() }
}

#[async_trait]
impl System for Runlog {
    async fn publish(&self, worker: usize, run: &str, payloads: &[Bytes]) -> Result<()> {
        let answer: wire::PublishResponse = self.0.unary(worker, PUBLISH, request(run, payloads)).await?;
        anyhow::ensure!(answer.events.len() == payloads.len(), "an answer for each event");
        Ok(())
    }

    async fn stream(self: Arc<Self>, worker: usize, window: Period) -> Result<Option<Tally>> {
        // The send times of the messages in flight; the capacity of the channel is the window.
        let (sent, mut times) = mpsc::channel(STREAM_WINDOW);
        let payload = [payload()];
        let requests = unfold((sent, worker * 7_919), move |(sent, next)| {
            let publish = window.is_open().then(|| request(&run_of(next), &payload));
            async move {
                let publish = Some(publish?);
                sent.send(Instant::now()).await.ok()?;
                Some((wire::PublishStreamRequest { publish }, (sent, next + 1)))
            }
        });
        let mut answers = self.0.bidirectional(worker, PUBLISH_STREAM, requests).await?;
        let mut tally = Tally::default();
        while let Some(wire::PublishStreamResponse { published }) = answers.message().await? {
            let (Some(_), Some(began)) = (published, times.recv().await) else { bail!("a message was refused") };
            tally.add(&window, 1, began.elapsed());
        }
        Ok(Some(tally))
    }

    async fn replay(&self, run: &str, events: usize) -> Result<u64> {
        let request = wire::SubscribeRequest { max_batch: 1_000, ..subscribe(run) };
        let mut frames = self.0.server_streaming::<_, wire::SubscribeResponse>(0, SUBSCRIBE, request).await?;
        let mut seen = 0;
        while seen < events as u64 {
            let Some(frame) = frames.message().await? else { break };
            seen += count(frame.events)?;
        }
        Ok(seen)
    }

    async fn follow(&self, worker: usize, run: &str) -> Result<BoxStream<'static, Result<Part>>> {
        let request = wire::SubscribeRequest { latest: Some(()), ..subscribe(run) };
        let mut frames = self.0.server_streaming::<_, wire::SubscribeResponse>(worker, SUBSCRIBE, request).await?;
        // The first frame confirms the subscription.
        anyhow::ensure!(frames.message().await?.is_some_and(|frame| frame.events.is_empty()), "caught up");
        let part = |frame: wire::SubscribeResponse| async move {
            if frame.events.is_empty() {
                return Ok(None);
            }
            Ok(Some(Part { events: count(frame.events.clone())?, first: frame.events }))
        };
        Ok(frames.map_err(anyhow::Error::from).try_filter_map(part).boxed())
    }
}

fn subscribe(run: &str) -> wire::SubscribeRequest {
    wire::SubscribeRequest { run_id: run.to_owned(), payload_format: JSON, view: FULL, ..Default::default() }
}
