//! The agent SDK API, in the shape of agent-os ingest: one route takes the events that the SDK of an agent sends.
//!
//! | file | contents |
//! |---|---|
//! | `publish` | `POST /api/ingest` |
//! | `read` | events of a run, as pages and as a stream |
//! | `runs` | runs, each computed from the run's events |
//! | `status` | names of the run statuses |
//! | `error` | error bodies and error responses |

mod error;
mod publish;
mod read;
mod runs;
mod status;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{EventFilter, RunId};

use super::Gateway;
use super::query::Query;

pub use error::{ApiError, RefusalBody};
pub use publish::{IngestAnswer, IngestBody};
pub use read::{EventView, EventsReply};
pub use runs::{RunView, RunsReply};

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

/// Run id of the path. 422 for an invalid id.
fn run_id(path: Result<Path<String>, PathRejection>) -> Result<RunId, ApiError> {
    let Path(run_id) = path.map_err(|_| ApiError::field("sdk_run_id", "must be UTF-8, percent-encoded"))?;
    RunId::parse(&run_id).map_err(|error| ApiError::named("sdk_run_id", error))
}

fn types(query: &mut Query) -> Result<EventFilter, ApiError> {
    EventFilter::parse(&query.several("types"), Vec::new()).map_err(|error| ApiError::named("types", error))
}
