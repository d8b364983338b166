//! What the caller's key allows.

use crate::transport::rest::json::Json;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};

use crate::transport::rest::gateway::Gateway;
use crate::transport::rest::query::no_parameters;
use crate::transport::rest::time;

use super::error::{ApiError, RefusedCall};
use super::schema::PublicCaller;

/// What the caller's key allows. Any valid key may ask; a server without keys answers for everybody.
#[utoipa::path(get, path = "/v1/caller", tag = "public runs", operation_id = "get_caller",
    responses((status = 200, description = "The caller", body = PublicCaller), RefusedCall))]
pub async fn get(gateway: Gateway, request: Request<Body>) -> Result<Response, ApiError> {
    no_parameters(request.uri())?;
    let caller = gateway.service.describe_caller()?;
    let described = PublicCaller {
        key_id: caller.key_id.map(|key_id| key_id.to_string()),
        project: caller.project.to_string(),
        scopes: caller.scopes.iter().map(|scope| scope.to_string()).collect(),
        expires_at: caller.expires_at.map(time::millis),
    };
    Ok(([(CACHE_CONTROL, "no-store")], Json(described)).into_response())
}
