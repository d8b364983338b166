//! Health, metrics and the OpenAPI description: `/health/live`, `/health/ready`, `/health/deps`, `/metrics`,
//! `/openapi.json`.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Extensions, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gateway::Gateway;
use super::http_error::HttpError;
use super::json::{Json, JsonText};
use super::public_runs;
use crate::transport::caller::called;

/// Health routes, for probes.
pub fn health() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(dependencies))
}

/// Metrics route, for Prometheus.
pub fn metrics() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new().routes(routes!(show_metrics))
}

/// The route `/openapi.json`, which describes all routes.
pub fn openapi(api: &OpenApi) -> Router<Gateway> {
    let text = api.to_json().unwrap_or_else(|_| unreachable!("an OpenAPI document is JSON"));
    Router::new().route("/openapi.json", get(move || async move { JsonText(text) }))
}

/// Liveness: the process answers.
#[utoipa::path(get, path = "/health/live", tag = "operation",
    responses((status = 200, description = "The process answers")))]
async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

/// Readiness: the store answers and the server is not draining.
#[utoipa::path(get, path = "/health/ready", tag = "operation",
    responses((status = 200, description = "Ready to serve"),
              (status = 503, description = "Draining, or the store does not answer")))]
async fn ready(State(gateway): State<Gateway>) -> Result<Response, public_runs::ApiError> {
    gateway.service.ready().await.map_err(|error| {
        let message = format!("not ready: {error}");
        public_runs::ApiError::from(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, error.reason(), message))
    })?;
    Ok(Json(json!({ "status": "ready" })).into_response())
}

/// Health of the server's dependencies.
#[derive(Serialize, ToSchema)]
struct HealthDependencies {
    /// `ok`, or `failed` if a dependency failed.
    status: &'static str,
    /// One entry for each dependency.
    dependencies: Vec<HealthDependency>,
}

/// A dependency without which the server cannot serve.
#[derive(Serialize, ToSchema)]
struct HealthDependency {
    /// Name of the dependency: `store`.
    name: &'static str,
    /// Kind of the store: `sqlite` or `postgresql`.
    kind: &'static str,
    /// `ok` or `failed`.
    status: &'static str,
    /// Time until the dependency answered, in milliseconds.
    latency_ms: f64,
    /// Reason of the failure in UPPER_SNAKE; null when `ok`.
    #[schema(required)]
    reason: Option<&'static str>,
}

/// Health of each dependency of the server.
#[utoipa::path(get, path = "/health/deps", tag = "operation",
    responses((status = 200, description = "All are well", body = HealthDependencies),
              (status = 503, description = "One of them failed", body = HealthDependencies)))]
async fn dependencies(State(gateway): State<Gateway>) -> Response {
    let began = Instant::now();
    let (kind, answered) = gateway.service.store_health().await;
    let latency_ms = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let (status, code) =
        if answered.is_ok() { ("ok", StatusCode::OK) } else { ("failed", StatusCode::SERVICE_UNAVAILABLE) };
    let reason = answered.err().map(|error| error.reason());
    let dependencies = vec![HealthDependency { name: "store", kind, status, latency_ms, reason }];
    (code, Json(HealthDependencies { status, dependencies })).into_response()
}

/// Metrics in the text format of Prometheus. They count what all projects do, so a key of another project than `default` gets 404.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text format"),
              (status = 404, description = "The key is of another project than `default`")))]
async fn show_metrics(State(state): State<Gateway>, extensions: Extensions) -> Response {
    if called(&state.service, &extensions).caller().is_of_another_project() {
        return public_runs::ApiError::from(HttpError::no_route("/metrics")).into_response();
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], state.metrics.render()).into_response()
}
