//! gRPC-web: the same services for pages, over HTTP/1.1 and HTTP/2. tonic-web translates messages and trailers; here are the
//! requests that are translated, their memory, and CORS.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt};
use tower_http::cors::CorsLayer;

use super::whole_messages::WholeMessages;
use crate::transport::cors;
use crate::transport::memory::{Call, Memory};

/// A request that is translated, as the boundary marks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebRequest {
    /// A call in the form of gRPC-web.
    Call,
    /// The question of a browser whether a page of another origin may call.
    Preflight,
}

/// Content type of answers without a message.
const GRPC_WEB: &str = "application/grpc-web+proto";

/// Whether the content type is one of gRPC-web: binary, or the text of it in base64. Messages are protobuf.
pub fn is_web_type(headers: &HeaderMap) -> bool {
    const TYPES: [&str; 4] =
        ["application/grpc-web", GRPC_WEB, "application/grpc-web-text", "application/grpc-web-text+proto"];
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|content_type| TYPES.contains(&content_type))
}

/// A failed call in the form of gRPC-web: the status in the headers, and no message.
pub fn failed(status: Status) -> Response<Body> {
    let mut response = status.into_http();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC_WEB));
    response
}

/// Headers that a page of another origin may read. An error without a message has its trailers there.
const EXPOSED: [HeaderName; 7] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("grpc-retry-pushback-ms"),
    HeaderName::from_static("runlog-reason"),
    HeaderName::from_static("runlog-field"),
    HeaderName::from_static("x-request-id"),
];

/// Tower service that translates marked requests, see the module; all others pass.
#[derive(Clone, Debug)]
pub struct GrpcWeb<S> {
    inner: S,
    /// Shared, because each request clones the service.
    options: Arc<WebOptions>,
}

#[derive(Debug)]
struct WebOptions {
    cors: CorsLayer,
    memory: Arc<Memory>,
    max_bytes: usize,
}

impl<S> GrpcWeb<S> {
    /// Layer around all services. Messages of at most `max_bytes` are charged to the memory; pages of `origins` may read answers.
    pub fn layer(
        memory: Arc<Memory>,
        max_bytes: usize,
        origins: &[String],
    ) -> impl Layer<S, Service = Self> + Clone + use<S> {
        let options = Arc::new(WebOptions { cors: cors::layer(origins, EXPOSED), memory, max_bytes });
        tower::layer::layer_fn(move |inner| Self { inner, options: Arc::clone(&options) })
    }
}

impl<S> Service<Request<Body>> for GrpcWeb<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.extensions().get::<WebRequest>().is_none() {
            return Either::Right(self.inner.call(request));
        }
        let counted = Counted { inner: self.inner.clone(), options: Arc::clone(&self.options) };
        let web = self.options.cors.layer(GrpcWebLayer::new().layer(counted));
        Either::Left(Box::pin(web.oneshot(request)))
    }
}

/// Charges the messages of a translated request to the memory, as those of gRPC.
#[derive(Clone, Debug)]
struct Counted<S> {
    inner: S,
    options: Arc<WebOptions>,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        const BEGUN: &str = "the boundary begins a call for each request";
        let call = request.extensions().get::<Arc<Call>>().unwrap_or_else(|| unreachable!("{BEGUN}"));
        let intake = self.options.memory.intake(call);
        let max_bytes = self.options.max_bytes;
        self.inner.call(request.map(|body| Body::new(WholeMessages::counted(body, max_bytes, intake))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_grpc_web_are_those_with_protobuf() {
        let is_web =
            |content_type: &str| is_web_type(&[(CONTENT_TYPE, content_type.parse().unwrap())].into_iter().collect());
        for content_type in [GRPC_WEB, "application/grpc-web", "application/grpc-web-text"] {
            assert!(is_web(content_type), "{content_type}");
        }
        for content_type in ["application/grpc", "application/grpc-web+json", "application/json", "text/plain", ""] {
            assert!(!is_web(content_type), "{content_type}");
        }
        assert!(!is_web_type(&HeaderMap::new()));
    }
}
