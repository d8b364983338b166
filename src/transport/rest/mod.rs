//! The JSON gateway: three documented REST shapes over the one service, side by side on the port of gRPC.
//!
//! A door translates envelopes, nothing else: what is stored, numbered, refused or redacted is decided below. What all
//! doors share lies here: reading bodies and queries strictly, refusals, request ids, server-sent events.

pub mod agent_sdk;
pub mod body;
pub mod event_path;
pub mod fields;
pub mod frame;
pub mod headers;
pub mod http_error;
mod operation;
pub mod public_runs;
pub mod query;
mod request_context;
pub mod structure_runs;
pub mod time;
mod unpack;

use std::time::Duration;

use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::domain::View;
use crate::service::Service;

pub use body::is_packed;
pub use http_error::HttpError;

/// How the gateway works. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Origins that browsers may call from; `*` for any; none: only pages of this origin.
    pub cors_origins: Vec<String>,
    /// How much of each payload is shown where a request does not say.
    pub default_view: View,
    /// How long a call that is no stream may take.
    pub request_timeout: Duration,
    /// The longest silence of an event stream.
    pub sse_heartbeat: Duration,
}

/// What every handler has.
#[derive(Clone)]
pub struct Gateway {
    /// The service, the same as gRPC's.
    pub service: Service,
    /// See [`GatewayOptions`].
    pub options: GatewayOptions,
    metrics: PrometheusHandle,
}

impl Gateway {
    /// Over this service; `metrics` is what `/metrics` shows.
    #[must_use]
    pub fn new(service: Service, options: GatewayOptions, metrics: PrometheusHandle) -> Self {
        Self { service, options, metrics }
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "runlog",
    description = "The durable event log and live feed of agent runs, in three documented REST shapes.",
    license(name = "MIT")
))]
struct Api;

/// What a listener offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Everything.
    All,
    /// Events and runs. Health, as everywhere.
    Events,
    /// What those need who run the server, and no events.
    Operation,
}

/// The routes of all doors, with `/openapi.json` that describes them, as far as they are on offer.
pub fn router(gateway: Gateway, offer: Offer) -> Router {
    let doors =
        || OpenApiRouter::new().merge(structure_runs::routes()).merge(agent_sdk::routes()).merge(public_runs::routes());
    let all = OpenApiRouter::with_openapi(Api::openapi())
        .merge(doors())
        .merge(operation::health())
        .merge(operation::metrics());
    let (all, api) = all.split_for_parts();
    let router = match offer {
        Offer::All => all.merge(operation::openapi(&api)),
        Offer::Events => doors().merge(operation::health()).into(),
        Offer::Operation => {
            Router::from(operation::health().merge(operation::metrics())).merge(operation::openapi(&api))
        }
    };
    let router = router.method_not_allowed_fallback(method_not_allowed);
    let router = match cors(&gateway.options.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(middleware::from_fn_with_state(gateway.clone(), request_context::track)).with_state(gateway)
}

/// What answers a path that is nobody's.
pub async fn not_found(uri: Uri) -> Response {
    refuse(uri.path(), &HttpError::no_route(uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    refuse(uri.path(), &HttpError::method_not_allowed(&method))
}

/// A refusal in the shape of the door that the path belongs to; paths of none get door C's.
pub fn refuse(path: &str, problem: &HttpError) -> Response {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if begins(&["/api/structures", "/api/structure-runs", "/api/events"]) {
        structure_runs::ApiError::from(problem.clone()).into_response()
    } else if begins(&["/api/"]) {
        agent_sdk::ApiError::from(problem.clone()).into_response()
    } else {
        public_runs::ApiError::from(problem.clone()).into_response()
    }
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    Some(CorsLayer::new().allow_origin(allowed).allow_methods(Any).allow_headers(Any).expose_headers(Any))
}
