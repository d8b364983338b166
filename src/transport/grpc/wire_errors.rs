//! Gives the errors of the wire layer itself a reason, as all others have: see [`status::from_wire`]. A call that takes
//! too long is answered here for the same reason: tonic's own timeout says CANCELLED and nothing more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Status;
use tower::{Layer, Service};

use crate::transport::status;

/// A server whose every error has a reason.
#[derive(Clone, Debug)]
pub struct WireErrors<S> {
    inner: S,
    timeout: Duration,
}

impl<S> WireErrors<S> {
    /// Around all services. `timeout` is for a call to be answered, or for a stream to begin.
    pub fn layer(timeout: Duration) -> impl Layer<S, Service = Self> + Clone {
        tower::layer::layer_fn(move |inner| Self { inner, timeout })
    }
}

impl<S, RequestBody, Body> Service<http::Request<RequestBody>> for WireErrors<S>
where
    S: Service<http::Request<RequestBody>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    Body: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let response = tokio::time::timeout(self.timeout, self.inner.call(request));
        Box::pin(async move {
            let Ok(response) = response.await else {
                return Ok(status::timed_out().into_http());
            };
            let response = response?;
            count(&path, response.headers());
            // An error without a body has its status among the headers; that is how the wire layer refuses.
            let refused = response.headers().get("grpc-status").is_some();
            match refused.then(|| Status::from_header_map(response.headers())).flatten() {
                Some(status) if status.code() != tonic::Code::Ok && status.details().is_empty() => {
                    Ok(status::from_wire(status).into_http())
                }
                _ => Ok(response),
            }
        })
    }
}

/// Counts a call by its method. What no method answers to has one name for all, or anybody could make up new ones.
fn count(path: &str, headers: &http::HeaderMap) {
    let code = headers.get("grpc-status").and_then(|code| code.to_str().ok()).unwrap_or("0").to_owned();
    let is_ours = code != (tonic::Code::Unimplemented as i32).to_string();
    let method = if is_ours { path.to_owned() } else { "none".to_owned() };
    metrics::counter!("runlog_grpc_requests_total", "method" => method, "code" => code).increment(1);
}
