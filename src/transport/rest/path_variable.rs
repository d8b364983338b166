//! The variable of a path.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;

use super::http_error::HttpError;

/// The single variable of a path, as extracted.
pub type Variable = Result<Path<String>, PathRejection>;

/// Text of the variable, without percent-encoding. 400 if the text is not UTF-8.
pub fn text(variable: Variable) -> Result<String, HttpError> {
    match variable {
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(HttpError::malformed("the path is not UTF-8")),
    }
}
