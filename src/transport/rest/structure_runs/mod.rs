//! The structure runs API, in the shape of Griptape Cloud structure runs as the published clients use them.
//!
//! An event posted here keeps type, payload, and the timestamp as the double that was sent. Runs and events of the
//! other APIs are shown in the same shape; `response` maps statuses that this shape lacks.
//!
//! | file | contents |
//! |---|---|
//! | `params` | path, query parameters and headers |
//! | `request` | bodies |
//! | `response` | events and runs in JSON |
//! | `publish` | publishing events |
//! | `read` | events of a run, as pages and as a stream; one event by id |
//! | `runs` | creating, listing, reading and cancelling runs |
//! | `error` | error bodies and error responses |
//! | `env_var` | environment variables of a run |
//! | `spans`, `logs` | spans of a run; events as lines of text |
//! | `ids` | ids derived from the content of a request |
//! | `schema` | responses in `/openapi.json` |

mod env_var;
mod error;
mod ids;
mod logs;
mod params;
mod publish;
mod read;
mod request;
mod response;
mod runs;
pub mod schema;
mod spans;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gateway::Gateway;

pub use error::ApiError;

#[derive(OpenApi)]
#[openapi(
    components(schemas(schema::StructureRefusal)),
    tags((name = "structure runs", description = "Griptape Cloud structure runs, with events, logs and spans."))
)]
struct Api;

/// Routes of the structure runs API.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(runs::create_run, runs::list_runs))
        .routes(routes!(runs::get_run))
        .routes(routes!(runs::cancel_run))
        .routes(routes!(publish::post_events, read::list_events))
        .routes(routes!(read::stream_events))
        .routes(routes!(read::get_event))
        .routes(routes!(logs::get_logs))
        .routes(routes!(spans::post_spans, spans::list_spans))
}
