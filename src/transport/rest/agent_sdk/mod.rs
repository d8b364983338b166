//! The agent SDK API, in the shape of agent-os ingest: one route takes the events that the SDK of an agent sends.
//!
//! | file | contents |
//! |---|---|
//! | `params` | path, query parameters and headers |
//! | `request` | bodies |
//! | `response` | events and runs in JSON |
//! | `publish` | `POST /api/ingest` |
//! | `read` | events of a run, as pages and as a stream |
//! | `runs` | runs, each computed from the run's events |
//! | `error` | error bodies and error responses |
//! | `schema` | responses in `/openapi.json` |

mod error;
mod params;
mod publish;
mod read;
mod request;
mod response;
mod runs;
mod schema;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gateway::Gateway;

pub use error::{ApiError, RefusalBody};
pub use request::IngestBody;
pub use schema::{EventView, EventsReply, IngestAnswer, RunView, RunsReply};

#[derive(OpenApi)]
#[openapi(
    components(schemas(RefusalBody)),
    tags((name = "agent SDK", description = "agent-os ingest: the events of an agent's SDK, published and read in one shape."))
)]
struct Description;

/// Routes of the agent SDK API.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(publish::ingest))
        .routes(routes!(runs::list_runs))
        .routes(routes!(runs::get_run))
        .routes(routes!(read::list_events))
        .routes(routes!(read::stream_events))
}
