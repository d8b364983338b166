//! Request bodies: JSON text, of the right type and within the bound.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Request, StatusCode};

use super::Problem;

/// Reads a JSON body. 415 for another content type (none is taken as JSON), 413 past `max_bytes`, 400 for text that is
/// not UTF-8. Whether it is JSON shows when it is parsed.
pub async fn text(request: Request<Body>, max_bytes: usize) -> Result<String, Problem> {
    if let Some(content_type) = request.headers().get(CONTENT_TYPE) {
        let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let is_json =
            essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json");
        if !is_json {
            let message = format!("send application/json, not {essence:?}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
        }
    }
    let bytes = axum::body::to_bytes(request.into_body(), max_bytes).await.map_err(|error| {
        if is_length_limit(&error) {
            let message = format!("the body must be at most {max_bytes} bytes; send fewer events in one request");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_TOO_LARGE", message)
        } else {
            Problem::malformed("the body broke off")
        }
    })?;
    String::from_utf8(bytes.into()).map_err(|_| Problem::malformed("the body is not UTF-8"))
}

fn is_length_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
