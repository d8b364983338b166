//! Door B: the ingest of an agent SDK, as in `reference/agent-sdk-ingest-events.md`.
//!
//! | file | what |
//! |---|---|
//! | `ingest` | `POST /api/ingest` |
//! | `runs` | the runs that the events add up to |
//! | `events` | events read back, as pages and as a stream |
//! | `status` | the door's words for a run's status |
//! | `refusal` | the door's errors |

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
    tags((name = "agent SDK", description = "Door B: runs as an agent SDK tells them, one envelope in and out."))
)]
struct Description;

/// The routes of door B.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(publish::ingest))
        .routes(routes!(runs::list_runs))
        .routes(routes!(runs::get_run))
        .routes(routes!(read::list_events))
        .routes(routes!(read::stream_events))
}

/// The run of a path. One whose id no run can have is refused, not looked for.
fn run_id(path: Result<Path<String>, PathRejection>) -> Result<RunId, ApiError> {
    let Path(run_id) = path.map_err(|_| ApiError::field("sdk_run_id", "must be UTF-8, percent-encoded"))?;
    RunId::parse(&run_id).map_err(|error| ApiError::named("sdk_run_id", error))
}

fn types(query: &mut Query) -> Result<EventFilter, ApiError> {
    EventFilter::parse(&query.several("types"), Vec::new()).map_err(|error| ApiError::named("types", error))
}
