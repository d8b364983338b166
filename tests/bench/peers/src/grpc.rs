//! One gRPC client for all systems with a gRPC API. Requests are encoded by prost. Responses are decoded only as far as
//! counting needs, so that the client is not the bottleneck.

use anyhow::Result;
use bytes::{Buf as _, Bytes};
use futures_util::Stream;
use http::uri::PathAndQuery;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, IntoStreamingRequest, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::system::CONNECTIONS;

/// Largest accepted message, bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Connections to one server, chosen by worker.
pub struct Connections(Vec<Channel>);

impl Connections {
    pub async fn open(address: &str) -> Result<Self> {
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(Endpoint::from_shared(format!("http://{address}"))?.connect().await?);
        }
        Ok(Self(channels))
    }

    async fn ready(&self, worker: usize) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.0[worker % self.0.len()].clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        grpc.ready().await.map_err(|error| Status::new(Code::Unavailable, error.to_string()))?;
        Ok(grpc)
    }

    pub async fn unary<Q, A>(&self, worker: usize, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (mut grpc, path) = (self.ready(worker).await?, PathAndQuery::from_static(path));
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc.unary(Request::new(message), path, codec).await?.into_inner())
    }

    pub async fn server_streaming<Q, A>(
        &self,
        worker: usize,
        path: &'static str,
        message: Q,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (mut grpc, path) = (self.ready(worker).await?, PathAndQuery::from_static(path));
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc.server_streaming(Request::new(message), path, codec).await?.into_inner())
    }

    pub async fn bidirectional<Q, A>(
        &self,
        worker: usize,
        path: &'static str,
        messages: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let (mut grpc, path) = (self.ready(worker).await?, PathAndQuery::from_static(path));
        let codec = ProstCodec::<Q, A>::default();
        Ok(grpc.streaming(messages.into_streaming_request(), path, codec).await?.into_inner())
    }
}

/// Number of messages of a serialized list `repeated Event events = 1`, counted without decoding the messages.
pub fn count(mut list: Bytes) -> Result<u64> {
    let mut events = 0;
    while list.has_remaining() {
        let (_, wire_type) = decode_key(&mut list)?;
        anyhow::ensure!(wire_type == WireType::LengthDelimited, "a list holds something else");
        let length = usize::try_from(decode_varint(&mut list)?)?;
        anyhow::ensure!(length <= list.remaining(), "a list is cut off");
        list.advance(length);
        events += 1;
    }
    Ok(events)
}
