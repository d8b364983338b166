//! The public runs API, in the shape of public run events.
//!
//! Choices beyond that shape: the first event of a run creates the run, as `POST /v1/runs` does; an invalid run id
//! answers as an unknown run; a repeated key or event id has the result of the first request.
//!
//! | file | contents |
//! |---|---|
//! | `params` | path, query parameters and headers |
//! | `request`, `create` | bodies |
//! | `response` | events and runs in JSON |
//! | `publish` | publishing events |
//! | `read` | events of a run, as pages and as a stream |
//! | `feed` | events of all runs, as a stream |
//! | `runs` | creating, listing, reading and controlling runs |
//! | `caller` | what the caller's key allows |
//! | `stream_token` | tokens for event streams in a browser |
//! | `usage` | tokens and cost of runs |
//! | `error` | error bodies and error responses |
//! | `schema` | responses in `/openapi.json` |

mod caller;
mod create;
mod error;
mod feed;
mod params;
mod publish;
mod read;
mod request;
mod response;
mod runs;
pub mod schema;
mod stream_token;
mod usage;

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::gateway::Gateway;

pub use error::{ApiError, RefusedCall};
pub use params::RunPath;
pub use response::form;

#[derive(OpenApi)]
#[openapi(
    tags((name = "public runs", description = "Public run events: create, follow, signal, cancel and resume runs.")),
    components(schemas(schema::PublicFeedEvent))
)]
struct Description;

/// Routes of the public runs API.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(runs::list, runs::create))
        .routes(routes!(runs::get))
        .routes(routes!(read::list, publish::publish))
        .routes(routes!(read::follow))
        .routes(routes!(runs::signal))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::resume))
        .routes(routes!(stream_token::create))
        .routes(routes!(feed::follow))
        .routes(routes!(caller::get))
        .routes(routes!(usage::get))
}
