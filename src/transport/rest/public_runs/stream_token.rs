//! Stream tokens, for clients that cannot send a header.

use crate::transport::rest::json::Json;
use axum::body::Body;
use axum::http::header::CACHE_CONTROL;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::service::access::IssuedStreamToken;
use crate::transport::rest::body as request_body;
use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::path_variable::Variable;
use crate::transport::rest::query::no_parameters;
use crate::transport::rest::time;

use super::error::{ApiError, RefusedBody, RefusedCall};
use super::params::RunPath;
use super::request::PublicNothing;
use super::schema::{PublicError, PublicStreamToken};

/// Creates a token with which a client that sends no header, such as a browser's `EventSource`, reads the events of this run: the
/// parameter `token` of the routes that list and follow them, in all APIs. The token expires after 5 minutes, and ends before
/// with the key of this call. It is checked when a request begins: an open stream goes on after its end.
#[utoipa::path(post, path = "/v1/runs/{id}/stream-token", tag = "public runs", operation_id = "create_stream_token",
    params(RunPath),
    request_body = Option<PublicNothing>,
    responses((status = 201, description = "The token", body = PublicStreamToken),
        (status = 404, description = "No such run", body = PublicError), RefusedBody, RefusedCall))]
pub async fn create(gateway: Gateway, id: Variable, request: Request<Body>) -> Result<Response, ApiError> {
    let RunPath { id } = RunPath::parse(id)?;
    no_parameters(request.uri())?;
    PublicNothing::parse(&request_body::text(request, gateway.service.limits().max_request_bytes).await?)?;
    let IssuedStreamToken { token, expires_at } = gateway.service.create_stream_token(&id).await?;
    let issued = PublicStreamToken { token, expires_at: time::millis(expires_at) };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(issued)).into_response())
}
