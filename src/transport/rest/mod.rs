//! The REST APIs: APIs in HTTP and JSON over one service, on the port of gRPC. Each has the shape of an existing
//! system, so that published clients of that system work unchanged.
//!
//! | module | shape of |
//! |---|---|
//! | `structure_runs` | Griptape Cloud structure runs |
//! | `agent_sdk` | agent-os ingest |
//! | `public_runs` | public run events |
//! | `ag_ui` | the AG-UI protocol; it reads only |
//!
//! An API module translates envelopes only; storage, numbering, checks and redaction are decided in the service and
//! below. This module holds the shared parts: strict reading of bodies and query strings, errors, request ids, times.

mod ag_ui;
pub mod agent_sdk;
pub mod body;
pub mod error_responses;
pub mod event_path;
mod event_stream;
pub mod fields;
mod gateway;
pub mod headers;
pub mod http_error;
pub mod json;
mod operation;
pub mod path_variable;
pub mod public_runs;
pub mod query;
mod refusals;
mod removal;
mod request_context;
pub mod request_id;
pub mod resume;
pub mod structure_runs;
pub mod time;
mod unpack;

use axum::http::{Method, Uri};
use axum::response::Response;
use axum::{Router, middleware};
use tower_http::cors::Any;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::cors;

pub use body::is_packed;
pub use event_stream::is_event_stream;
pub use gateway::{Gateway, GatewayOptions};
pub use http_error::HttpError;
pub use refusals::refuse;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "runlog",
        description = "The durable event log and live feed of agent runs. REST APIs over the same runs, each with the \
            shape of an existing system: Griptape Cloud structure runs, agent-os ingest, public run events, and, to read, \
            AG-UI.",
        license(name = "MIT", identifier = "MIT")
    ),
    servers((url = "/", description = "The server of this document")),
    tags((name = "operation", description = "Health, metrics and the OpenAPI description."))
)]
struct Api;

/// Routes that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The APIs of runs, health, metrics and `/openapi.json`.
    All,
    /// The APIs of runs, and health.
    Events,
    /// Health, metrics and `/openapi.json`, without the APIs of runs.
    Operation,
}

/// Router of the routes on offer. `/openapi.json` describes all routes.
pub fn router(gateway: Gateway, offer: Offer) -> Router {
    let apis = || {
        let three = OpenApiRouter::new().merge(structure_runs::routes()).merge(agent_sdk::routes());
        three.merge(public_runs::routes()).merge(ag_ui::routes())
    };
    let all = OpenApiRouter::with_openapi(Api::openapi())
        .merge(apis())
        .merge(operation::health())
        .merge(operation::metrics());
    let (all, mut api) = all.split_for_parts();
    refusals::describe(&mut api);
    let router = match offer {
        Offer::All => all.merge(operation::openapi(&api)),
        Offer::Events => apis().merge(operation::health()).into(),
        Offer::Operation => {
            Router::from(operation::health().merge(operation::metrics())).merge(operation::openapi(&api))
        }
    };
    let router = router.method_not_allowed_fallback(method_not_allowed);
    let router = router.layer(middleware::from_fn_with_state(gateway.clone(), request_context::track));
    // Around the middleware: a page may read its refusals too.
    let router = match &gateway.options.cors_origins[..] {
        [] => router,
        origins => router.layer(cors::layer(origins, Any)),
    };
    router.with_state(gateway)
}

/// Response to a path without a route: 404.
pub async fn not_found(uri: Uri) -> Response {
    refuse(uri.path(), &HttpError::no_route(uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    refuse(uri.path(), &HttpError::method_not_allowed(&method))
}
