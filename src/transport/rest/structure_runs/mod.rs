//! Door A: structure runs, as in `reference/griptape-structure-run-events.md` and as the published clients speak it.
//!
//! An event posted here keeps its type, payload and double of a timestamp. A run or event that came in through another
//! door is shown in this shape as well; what this shape has no word for is mapped in `run_object`.

mod create;
mod env_var;
mod error;
mod event_form;
mod logs;
mod posted;
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

use super::Gateway;

pub use error::ApiError;

#[derive(OpenApi)]
#[openapi(components(schemas(schema::StructureRefusal)))]
struct Api;

/// The routes of door A.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(create::create_run, runs::list_runs))
        .routes(routes!(runs::get_run))
        .routes(routes!(runs::cancel_run))
        .routes(routes!(publish::post_events, read::list_events))
        .routes(routes!(read::stream_events))
        .routes(routes!(read::get_event))
        .routes(routes!(logs::get_logs))
        .routes(routes!(spans::post_spans, spans::list_spans))
}
