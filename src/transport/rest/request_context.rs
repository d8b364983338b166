//! Middleware around every handler: refused keys, deadline, metrics, the header `Accept` and the method OPTIONS.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::header::ACCEPT;
use axum::http::{Method, Request, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::gateway::Gateway;
use super::http_error::HttpError;
use super::refusals::refuse;
use crate::telemetry;
use crate::transport::caller::Refusal;

/// Middleware of every route.
pub async fn track(State(gateway): State<Gateway>, request: Request<Body>, next: Next) -> Response {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let refusal = request.extensions().get::<Refusal>().map(|Refusal(error)| HttpError::from(error.clone()));
    let mut response = match refusal.map_or_else(|| acceptable(&request), Err) {
        Ok(()) => match tokio::time::timeout(gateway.options.request_timeout, next.run(request)).await {
            Ok(response) => response,
            Err(_) => refuse(&path, &HttpError::timed_out(&method)),
        },
        Err(problem) => refuse(&path, &problem),
    };
    if method == Method::OPTIONS && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = options();
    }
    let status = response.status().as_str().to_owned();
    let labels = [("method", method_name(&method).to_owned()), ("route", route.clone()), ("status", status)];
    telemetry::HTTP_REQUESTS.add_one(&labels);
    telemetry::HTTP_REQUEST_SECONDS.record_of(&[("route", route)], began.elapsed());
    response
}

/// The method as a metric label. Unknown methods share one label, so that clients cannot create labels without limit.
fn method_name(method: &Method) -> String {
    match method.as_str() {
        known @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS" | "PATCH") => known.to_owned(),
        _ => "other".to_owned(),
    }
}

/// Response to OPTIONS. The router adds the header `Allow` after this middleware.
fn options() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// 406 if the header `Accept` excludes the media type of the response. A request without `Accept` takes all types.
fn acceptable(request: &Request<Body>) -> Result<(), HttpError> {
    let mut accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if accepted.peek().is_none() {
        return Ok(());
    }
    let path = request.uri().path();
    let is_stream = path.ends_with("/stream") || path.starts_with("/ag-ui/");
    let (range, name) = if is_stream { ("text/*", "text/event-stream") } else { ("application/*", "application/json") };
    let is_metrics = request.uri().path() == "/metrics";
    let matches = |range_of: &str| {
        let mut parts = range_of.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        !refused
            && (essence == "*/*" || essence == range || essence == name || (is_metrics && essence.starts_with("text/")))
    };
    if accepted.any(|value| value.split(',').any(matches)) {
        return Ok(());
    }
    Err(HttpError::new(StatusCode::NOT_ACCEPTABLE, "NOT_ACCEPTABLE", format!("this answers {name} only")))
}
