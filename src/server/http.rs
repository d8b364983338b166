//! Routes that are not gRPC: the JSON gateway, the console, and the answer to an unknown path.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use tonic::Status;

use crate::transport::console;
use crate::transport::rest::{self, Gateway, Offer};
use crate::transport::status;

/// The JSON gateway, and the console beside the routes that it calls.
pub(super) fn router(gateway: Gateway, offer: Offer, has_console: bool) -> Router {
    let routes = rest::router(gateway, offer);
    match has_console && offer != Offer::Operation {
        true => routes.merge(console::router()),
        false => routes,
    }
}

/// The response to an unknown path: a gRPC status for gRPC calls, JSON for all other requests.
pub(super) async fn unmatched_route(request: Request<Body>) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|content_type| content_type.starts_with("application/grpc")) {
        return status::from_wire(Status::unimplemented(request.uri().path())).into_http();
    }
    rest::not_found(request.uri().clone()).await
}
