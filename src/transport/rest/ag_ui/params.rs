//! Parameters of the AG-UI API: the path. Those of the query and the header are of all event streams.

use utoipa::IntoParams;

use crate::domain::{Error, RunId};
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::path_variable::{self, Variable};

/// Path of the stream of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RunPath {
    /// The run.
    #[param(value_type = String)]
    pub id: RunId,
}

impl RunPath {
    /// Run id of a path. An invalid id answers 404, like any id without a run.
    pub fn parse(id: Variable) -> Result<Self, HttpError> {
        let text = path_variable::text(id)?;
        let not_found = |_| Error::RunNotFound { run_id: text.chars().take(200).collect() };
        Ok(Self { id: RunId::parse(&text).map_err(not_found)? })
    }
}
