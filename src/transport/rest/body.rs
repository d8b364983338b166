//! Request bodies: checks the content type, decompresses, limits the size, decodes UTF-8.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, StatusCode};

use tonic::Status;

use super::headers::one;
use super::http_error::HttpError;
use super::unpack::{Encoding, Unpacked, unpack};
use crate::transport::memory::Call;

/// Reads the text of a JSON body; malformed JSON is found when the text is parsed. 415 for another content type (a body
/// without `Content-Type` is taken as JSON) or an unsupported content encoding; 413 above `max_bytes`, compressed or
/// decompressed; 400 if decompression fails or the text is not UTF-8.
pub async fn text(request: Request<Body>, max_bytes: usize) -> Result<String, HttpError> {
    check_type(request.headers())?;
    let encoding = encoding(request.headers())?;
    let call = request.extensions().get::<Arc<Call>>().cloned();
    let too_large = || {
        let message = format!("the body must be at most {max_bytes} bytes; send fewer events in one request");
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_TOO_LARGE", message)
    };
    let bytes = axum::body::to_bytes(request.into_body(), max_bytes).await.map_err(|error| {
        if causes(&error).any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
            return too_large();
        }
        let given_up = causes(&error).find_map(|cause| cause.downcast_ref::<Status>());
        given_up.and_then(HttpError::of_intake).unwrap_or_else(|| HttpError::malformed("the body broke off"))
    })?;
    let bytes = match encoding {
        None => bytes.into(),
        Some(encoding) => {
            if let Some(call) = &call {
                call.room_to_unpack(max_bytes).await?;
            }
            // Decompression takes milliseconds, too long for the threads that serve connections.
            let unpacked = tokio::task::spawn_blocking(move || unpack(encoding, &bytes, max_bytes)).await;
            match unpacked {
                Ok(Unpacked::Whole(bytes)) => {
                    if let Some(call) = call {
                        call.unpacked(bytes.len());
                    }
                    bytes
                }
                Ok(Unpacked::TooLarge) => return Err(too_large()),
                Ok(Unpacked::Corrupt) | Err(_) => {
                    return Err(HttpError::malformed(format!("the body is not {encoding}, as Content-Encoding says")));
                }
            }
        }
    };
    let text = String::from_utf8(bytes).map_err(|_| HttpError::malformed("the body is not UTF-8"))?;
    // A byte order mark does not belong to the JSON text.
    Ok(text.strip_prefix('\u{feff}').map(ToOwned::to_owned).unwrap_or(text))
}

fn check_type(headers: &HeaderMap) -> Result<(), HttpError> {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json") {
        return Ok(());
    }
    let message = format!("send application/json, not {essence:?}");
    Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message))
}

/// Whether a body is compressed with a supported content encoding.
pub fn is_packed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_ENCODING) && matches!(encoding(headers), Ok(Some(_)))
}

/// Content encoding of the body; `None` for an uncompressed body.
fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, HttpError> {
    let given = one(headers, CONTENT_ENCODING.as_str())?.unwrap_or_default();
    let named: Vec<&str> = given.split(',').map(str::trim).filter(|name| !is_identity(name)).collect();
    match named.as_slice() {
        [] => Ok(None),
        [name] if Encoding::named(name).is_some() => Ok(Encoding::named(name)),
        _ => {
            let message =
                format!("Content-Encoding {given:?} is not read; send one of gzip, deflate, br, zstd, or none");
            let problem = HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_CONTENT_ENCODING", message);
            Err(HttpError { field: Some("Content-Encoding".to_owned()), ..problem })
        }
    }
}

fn is_identity(name: &str) -> bool {
    name.is_empty() || name.eq_ignore_ascii_case("identity")
}

fn causes(error: &axum::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}
