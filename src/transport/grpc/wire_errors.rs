//! Gives the errors of the wire layer itself a reason, as all others have: see [`status::from_wire`].

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::server::NamedService;
use tower::Service;

use crate::transport::status;

/// A gRPC service whose every error has a reason.
#[derive(Clone, Debug)]
pub struct WireErrors<S>(pub S);

impl<S: NamedService> NamedService for WireErrors<S> {
    const NAME: &'static str = S::NAME;
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
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move {
            let response = response.await?;
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
