//! CORS by `--cors-origins`, for REST and gRPC-web alike.

use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer, ExposeHeaders};

/// CORS for pages of these origins; `*` for any. `exposed` are the headers of an answer that a page may read.
pub fn layer(origins: &[String], exposed: impl Into<ExposeHeaders>) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    // `*` does not cover the header Authorization.
    let headers = AllowHeaders::mirror_request();
    CorsLayer::new().allow_origin(allowed).allow_methods(Any).allow_headers(headers).expose_headers(exposed)
}
