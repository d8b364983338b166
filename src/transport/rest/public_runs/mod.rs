//! The public runs API, in the shape of public run events.
//!
//! Choices beyond that shape: the first event of a run creates the run, as `POST /v1/runs` does; an invalid run id
//! answers as an unknown run; a repeated key or event id has the result of the first request.

mod control;
mod error;
mod events;
mod headers;
mod read;
mod request;
mod response;
mod runs;
pub mod schema;
mod stream;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Error, RunId};

use super::{Gateway, HttpError};

pub use error::ApiError;

#[derive(OpenApi)]
#[openapi(tags((name = "public runs", description = "Public run events: create, follow, signal, cancel and resume runs.")))]
struct Description;

/// Routes of the public runs API.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(runs::list, runs::create))
        .routes(routes!(runs::get))
        .routes(routes!(events::list, events::publish))
        .routes(routes!(stream::follow))
        .routes(routes!(control::signal))
        .routes(routes!(control::cancel))
        .routes(routes!(control::resume))
}

/// The `{id}` of a path, as extracted.
type Id = Result<Path<String>, PathRejection>;

fn text_of(path: Id) -> Result<String, HttpError> {
    path.map(|Path(text)| text).map_err(|rejection| HttpError::malformed(rejection.body_text()))
}

/// Run id of a path for a publish, which may create the run. 422 for an invalid id.
fn new_run_id(path: Id) -> Result<RunId, HttpError> {
    Ok(RunId::parse(&text_of(path)?).map_err(|error| error.with_field("id"))?)
}

/// Run id of a path. An invalid id answers 404, like any id without a run.
fn run_id(path: Id) -> Result<RunId, HttpError> {
    let text = text_of(path)?;
    let not_found = |_| Error::RunNotFound { run_id: text.chars().take(200).collect() }.into();
    RunId::parse(&text).map_err(not_found)
}
