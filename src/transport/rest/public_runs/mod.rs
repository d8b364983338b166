//! Door C: public run events, as in `reference/public-run-events.md`.
//!
//! Where the page is silent: a run begins with POST `/v1/runs` or with its first event; an id that no run can have is a run that
//! is not there; repeated keys and ids answer as the first time.

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
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{Error, RunId};

use super::{Gateway, HttpError};

pub use error::ApiError;

/// The routes of door C.
pub fn routes() -> OpenApiRouter<Gateway> {
    OpenApiRouter::new()
        .routes(routes!(runs::list, runs::create))
        .routes(routes!(runs::get))
        .routes(routes!(events::list, events::publish))
        .routes(routes!(stream::follow))
        .routes(routes!(control::signal))
        .routes(routes!(control::cancel))
        .routes(routes!(control::resume))
}

/// The `{id}` of a path as it came.
type Id = Result<Path<String>, PathRejection>;

fn text_of(path: Id) -> Result<String, HttpError> {
    path.map(|Path(text)| text).map_err(|rejection| HttpError::malformed(rejection.body_text()))
}

/// The run of a path to which events are published, which may create it.
fn new_run_id(path: Id) -> Result<RunId, HttpError> {
    Ok(RunId::parse(&text_of(path)?).map_err(|error| error.with_field("id"))?)
}

/// The run of a path. An id that no run can have is not found, like any other id that no run has.
fn run_id(path: Id) -> Result<RunId, HttpError> {
    let text = text_of(path)?;
    let not_found = |_| Error::RunNotFound { run_id: text.chars().take(200).collect() }.into();
    RunId::parse(&text).map_err(not_found)
}
