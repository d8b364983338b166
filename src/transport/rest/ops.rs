//! `/health/live`, `/health/ready`, `/metrics`, `/openapi.json`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Gateway, Problem, door_c};

/// The routes for those who run the server.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(show_metrics))
}

/// The description of all routes.
pub fn openapi(api: &OpenApi) -> Router<Gateway> {
    let text = api.to_json().unwrap_or_else(|_| unreachable!("an OpenAPI document is JSON"));
    Router::new().route("/openapi.json", get(move || async move { ([(CONTENT_TYPE, "application/json")], text) }))
}

/// The process answers.
#[utoipa::path(get, path = "/health/live", tag = "operation",
    responses((status = 200, description = "The process answers"), (status = 406, description = "Not acceptable")))]
async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

/// The store answers and the server does not drain.
#[utoipa::path(get, path = "/health/ready", tag = "operation",
    responses((status = 200, description = "Ready to serve"), (status = 406, description = "Not acceptable"),
              (status = 503, description = "Draining, or the store does not answer")))]
async fn ready(State(gateway): State<Gateway>) -> Result<Response, door_c::Refusal> {
    gateway.service.ready().await.map_err(|error| {
        let message = format!("not ready: {error}");
        door_c::Refusal::from(Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.reason(), message))
    })?;
    Ok(Json(json!({ "status": "ready" })).into_response())
}

/// Counters and times in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text format"), (status = 406, description = "Not acceptable")))]
async fn show_metrics(State(gateway): State<Gateway>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], gateway.metrics.render()).into_response()
}
