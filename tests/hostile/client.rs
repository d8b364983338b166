//! Clients that send invalid input: raw bytes, and HTTP/2 requests with any headers and bodies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use runlog::pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Status;

use crate::harness::within;

/// A message in gRPC framing.
pub fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// A publish of one event.
pub fn publish(run_id: &str) -> pb::PublishRequest {
    let event = pb::NewEvent { r#type: "step".to_owned(), ..Default::default() };
    pb::PublishRequest { run_id: run_id.to_owned(), events: vec![event], ..Default::default() }
}

/// A publish of this number of events, each with a payload of this size.
pub fn large_publish(run_id: &str, events: usize, payload_bytes: usize) -> pb::PublishRequest {
    let mut publish = publish(run_id);
    let payload = pb::payload::Variant::Json(format!("\"{}\"", "x".repeat(payload_bytes)));
    publish.events[0].payload = Some(pb::Payload { variant: Some(payload), ..Default::default() });
    publish.events = vec![publish.events[0].clone(); events];
    publish
}

/// Sends the bytes and reads until the server closes the connection.
pub async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    within("the end of the answer", socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// A body of one frame, with an end or without.
pub struct Sent {
    data: Option<Bytes>,
    ends: bool,
}

impl Sent {
    pub fn whole(data: Bytes) -> Self {
        Self { data: Some(data), ends: true }
    }

    pub fn endless(data: Bytes) -> Self {
        Self { data: Some(data), ends: false }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// An HTTP/2 connection.
#[derive(Clone)]
pub struct Http2 {
    address: SocketAddr,
    sender: SendRequest<Sent>,
}

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        Self { address, sender }
    }

    /// Sends a gRPC request; the headers replace or extend the usual headers, including `:authority`.
    pub async fn send(&self, path: &str, headers: &[(&str, &str)], body: Sent) -> Response<Incoming> {
        let own = self.address.to_string();
        let authority = headers.iter().find(|(name, _)| *name == ":authority").map_or(own.as_str(), |(_, value)| value);
        let mut request = Request::post(format!("http://{authority}{path}")).body(body).unwrap();
        let mut set = HeaderMap::new();
        set.insert("content-type", "application/grpc".parse().unwrap());
        set.insert("te", "trailers".parse().unwrap());
        for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
            let name: http::HeaderName = name.parse().unwrap();
            // A repeated header is sent twice.
            match name.as_str() {
                "content-type" => drop(set.insert(name, value.parse().unwrap())),
                _ => drop(set.append(name, value.parse().unwrap())),
            }
        }
        *request.headers_mut() = set;
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        within("an answer", sender.send_request(request)).await.unwrap()
    }

    /// The status of a call, from its headers or its trailers.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)], body: Sent) -> Status {
        let response = self.send(path, headers, body).await;
        assert_eq!(response.status(), 200, "{response:?}");
        if let Some(status) = Status::from_header_map(response.headers()) {
            return status;
        }
        let body = within("the body", response.into_body().collect()).await.unwrap();
        Status::from_header_map(body.trailers().unwrap()).unwrap()
    }
}

/// The reason of an error.
pub fn reason(status: &Status) -> String {
    use tonic_types::StatusExt;
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
