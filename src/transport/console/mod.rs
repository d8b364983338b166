//! The console: a page that shows runs live in a browser, answers their questions and steers them.
//!
//! What lies in `page/` is what the browser runs: ES modules and custom elements, without a build. A release build holds the
//! files; a debug build reads them from the disk, so that a change shows with a reload. The page is static and needs no key; it
//! reads over the public routes with the key of its reader.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rust_embed::{Embed, EmbeddedFile};

use super::rest::{HttpError, refuse};

#[derive(Embed)]
#[folder = "src/transport/console/page"]
struct Page;

/// Prefix of the paths of all files but the first.
const FILES: &str = "/console/";

/// Name of the file at `/`.
const INDEX: &str = "index.html";

/// Only files of this server are loaded or called, no text becomes code or HTML, and no other page may frame this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of every file.
const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    // Asked for each time, answered with 304: the files of one version belong together.
    (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

/// Routes of the console.
pub fn router() -> Router {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { file(INDEX, &headers) }))
        .route(
            "/console/{*name}",
            get(|Path(name): Path<String>, headers: HeaderMap| async move { file(&name, &headers) }),
        )
        .method_not_allowed_fallback(method_not_allowed)
}

/// Whether the path is one of the console, whose files need no key.
#[must_use]
pub fn is_file(path: &str) -> bool {
    path == "/" || path.starts_with(FILES)
}

fn file(name: &str, request: &HeaderMap) -> Response {
    let (Some(file), Some(media_type)) = (Page::get(name), media_type(name)) else {
        let path = format!("{FILES}{name}");
        return refuse(&path, &HttpError::no_route(&path));
    };
    let tag = tag(&file);
    let mut response = if is_known(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, HeaderValue::from_static(media_type))], file.data.into_owned()).into_response()
    };
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (Some(name), value)));
    headers.insert(ETAG, tag);
    response
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    refuse(uri.path(), &HttpError::method_not_allowed(&method))
}

/// Media type by the end of the name; `None` for a file that is not served.
fn media_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "html" => Some("text/html; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

/// The digest of the content, as an entity tag.
fn tag(file: &EmbeddedFile) -> HeaderValue {
    const VISIBLE: &str = "base64 is visible ASCII";
    let digest = BASE64_URL_SAFE_NO_PAD.encode(&file.metadata.sha256_hash()[..18]);
    HeaderValue::from_str(&format!("\"{digest}\"")).unwrap_or_else(|_| unreachable!("{VISIBLE}"))
}

/// Whether the client has the file with this tag.
fn is_known(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let given = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = given.flat_map(|value| value.split(',')).map(|text| text.trim().trim_start_matches("W/"));
    tags.any(|given| given == "*" || given.as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_every_file_that_the_page_names_is_there() {
        let names: Vec<String> = Page::iter().map(|name| name.into_owned()).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in &names {
            assert!(media_type(name).is_some(), "{name}");
            let text = String::from_utf8(Page::get(name).unwrap().data.into_owned()).unwrap();
            for path in text.split('"').filter_map(|quoted| quoted.strip_prefix(FILES)) {
                assert!(Page::get(path).is_some(), "{name} names {path}");
            }
        }
    }

    #[test]
    fn a_client_knows_a_file_by_its_tag_in_a_list_weak_or_as_any() {
        let tag = HeaderValue::from_static("\"abc\"");
        let knows =
            |value: &'static str| is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().unwrap())]), &tag);
        assert!(["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"].into_iter().all(knows));
        assert!(!["\"x\"", "abc", ""].into_iter().any(knows));
        assert!(!is_known(&HeaderMap::new(), &tag));
    }
}
