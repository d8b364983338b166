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

impl<S, Request, Body> Service<Request> for WireErrors<S>
where
    S: Service<Request, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    Body: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let response = tokio::time::timeout(self.timeout, self.inner.call(request));
        Box::pin(async move {
            let Ok(response) = response.await else {
                return Ok(status::timed_out().into_http());
            };
            let response = response?;
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
