//! The limit of gRPC on this machine: a tonic service that decodes the requests of `runlog.v1`, answers them, forwards
//! published events to subscribers in memory, and stores nothing.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _, iter};
use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::runlog::wire::{
    NewEvent, PublishRequest, PublishResponse, PublishStreamRequest, PublishStreamResponse, PublishedEvent,
    SubscribeRequest, SubscribeResponse,
};
use crate::runlog::{PUBLISH, PUBLISH_STREAM, SUBSCRIBE};

/// Publishes that a subscriber may lag behind before the channel drops the oldest.
const LAG: usize = 4_096;
/// Events of a frame of a replay.
const FRAME_EVENTS: usize = 1_000;
/// HTTP/2 windows of runlog, bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Serves until the process is killed.
pub async fn serve(address: SocketAddr) -> Result<()> {
    let (published, _) = broadcast::channel(LAG);
    let server = tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(Empty { published, replay: replay_frame() });
    Ok(server.serve(address).await?)
}

#[derive(Clone)]
struct Empty {
    published: broadcast::Sender<Bytes>,
    /// The frame that a replay repeats.
    replay: Bytes,
}

impl Empty {
    fn publish(&self, request: &PublishRequest) -> PublishResponse {
        if self.published.receiver_count() > 0 {
            // Fails only without subscribers.
            let _ = self.published.send(batch(&request.events));
        }
        let event = |seq: usize| PublishedEvent {
            seq: seq as u64,
            event_id: "00000000-0000-8000-8000-000000000000".to_owned(),
        };
        PublishResponse { events: (1..=request.events.len()).map(event).collect() }
    }

    fn subscribe(&self, request: &SubscribeRequest) -> BoxStream<'static, Result<SubscribeResponse, Status>> {
        let frame = |events: Bytes| SubscribeResponse { cursor: "1000".to_owned(), events };
        if request.latest.is_some() {
            let published = BroadcastStream::new(self.published.subscribe());
            // A subscriber that lags loses events and goes on.
            let live = published.filter_map(move |events| ready(events.ok().map(|events| Ok(frame(events)))));
            return iter([Ok(frame(Bytes::new()))]).chain(live).boxed();
        }
        let replay = self.replay.clone();
        iter(std::iter::repeat_with(move || Ok(frame(replay.clone())))).boxed()
    }
}

/// The events as a serialized `EventBatch`.
fn batch(events: &[NewEvent]) -> Bytes {
    let mut batch = BytesMut::new();
    for event in events {
        batch.put_u8(0x0a);
        // `encode` fails only for a buffer of a fixed size.
        let _ = event.encode_length_delimited(&mut batch);
    }
    batch.freeze()
}

fn replay_frame() -> Bytes {
    let json = String::from_utf8_lossy(&crate::meter::payload()).into_owned();
    let payload = Some(crate::runlog::wire::Payload { json });
    batch(&vec![NewEvent { r#type: "step".to_owned(), payload }; FRAME_EVENTS])
}

impl UnaryService<PublishRequest> for Empty {
    type Response = PublishResponse;
    type Future = BoxFuture<'static, Result<Response<PublishResponse>, Status>>;

    fn call(&mut self, request: Request<PublishRequest>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move { Ok(Response::new(this.publish(request.get_ref()))) })
    }
}

impl StreamingService<PublishStreamRequest> for Empty {
    type Response = PublishStreamResponse;
    type ResponseStream = BoxStream<'static, Result<PublishStreamResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, requests: Request<Streaming<PublishStreamRequest>>) -> Self::Future {
        let this = Arc::new(self.clone());
        let answers = requests.into_inner().map(move |request| {
            let published = request?.publish.map(|publish| this.publish(&publish));
            Ok(PublishStreamResponse { published })
        });
        Box::pin(ready(Ok(Response::new(answers.boxed()))))
    }
}

impl ServerStreamingService<SubscribeRequest> for Empty {
    type Response = SubscribeResponse;
    type ResponseStream = BoxStream<'static, Result<SubscribeResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<SubscribeRequest>) -> Self::Future {
        Box::pin(ready(Ok(Response::new(self.subscribe(request.get_ref())))))
    }
}

impl tonic::codegen::Service<http::Request<Body>> for Empty {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                PUBLISH => Grpc::new(ProstCodec::default()).unary(this, request).await,
                PUBLISH_STREAM => Grpc::new(ProstCodec::default()).streaming(this, request).await,
                SUBSCRIBE => Grpc::new(ProstCodec::default()).server_streaming(this, request).await,
                path => Status::unimplemented(path).into_http(),
            })
        })
    }
}

impl NamedService for Empty {
    const NAME: &'static str = "runlog.v1.EventService";
}
