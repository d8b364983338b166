//! Error responses in the shape of the API that a path belongs to.

use std::collections::BTreeMap;

use axum::http::Method;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{OpenApi, RefOr, Response as Described};

use super::error_responses::described;
use super::event_stream::is_event_stream;
use super::http_error::HttpError;
use super::{agent_sdk, public_runs, structure_runs};
use crate::transport::stream_token;

/// Error responses that every route may give, since they are made before its handler runs or in its place.
const OF_ANY_ROUTE: [(&str, &str); 4] = [
    ("400", "The header Host is missing or malformed, or the path is not UTF-8"),
    ("403", "The header Host or Origin is not allowed: --allowed-hosts, --cors-origins"),
    ("429", "The server has too many calls or too little memory for this one; see Retry-After"),
    ("503", "No response within --request-timeout-ms; see Retry-After"),
];

/// Error responses that every route but the health checks may give, in addition.
const OF_ANY_KEY: [(&str, &str); 3] = [
    ("401", "The key or the stream token is missing, not valid, expired or revoked; see WWW-Authenticate"),
    ("403", "The key or the stream token does not allow this request, or the header Host or Origin is not allowed"),
    ("429", "The key or the address is over a limit, see RateLimit, or the server has too much to do; see Retry-After"),
];

/// Error responses that every route but the event streams may give, in addition.
const OF_NO_STREAM: [(&str, &str); 1] = [("406", "The Accept header excludes the media type of the response")];

/// Error responses that every route with a body may give, in addition.
const OF_ANY_BODY: [(&str, &str); 1] = [("408", "The client stopped sending the body")];

/// Names of the security schemes.
const KEY: &str = "key";
const TOKEN: &str = "token";

/// Shape of error bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    StructureRuns,
    AgentSdk,
    PublicRuns,
}

impl Shape {
    /// Shape of the API that the path belongs to; other paths get the shape of public runs.
    fn of(path: &str) -> Self {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        if begins(&["/api/structures", "/api/structure-runs", "/api/events"]) {
            Self::StructureRuns
        } else if begins(&["/api/"]) {
            Self::AgentSdk
        } else {
            Self::PublicRuns
        }
    }

    fn described(self, statuses: &[(&str, &str)]) -> BTreeMap<String, RefOr<Described>> {
        match self {
            Self::StructureRuns => described::<structure_runs::schema::StructureRefusal>(statuses),
            Self::AgentSdk => described::<agent_sdk::RefusalBody>(statuses),
            Self::PublicRuns => described::<public_runs::schema::PublicError>(statuses),
        }
    }
}

/// Error response in the shape of the API that the path belongs to.
pub fn refuse(path: &str, problem: &HttpError) -> Response {
    match Shape::of(path) {
        Shape::StructureRuns => structure_runs::ApiError::from(problem.clone()).into_response(),
        Shape::AgentSdk => agent_sdk::ApiError::from(problem.clone()).into_response(),
        Shape::PublicRuns => public_runs::ApiError::from(problem.clone()).into_response(),
    }
}

/// Adds the security schemes, and to each operation the error responses that every route may give. A status with another
/// description stays.
pub fn describe(api: &mut OpenApi) {
    let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("key_<id>:<secret>");
    let key = key.description(Some("A key of `runlog keys create`. Not asked for while the store has no key.")).build();
    let token = "A token of `POST /v1/runs/{id}/stream-token`, for a request without the header Authorization.";
    let token = ApiKey::Query(ApiKeyValue::with_description(stream_token::PARAMETER, token));
    let components = api.components.get_or_insert_default();
    components.add_security_scheme(KEY, SecurityScheme::Http(key));
    components.add_security_scheme(TOKEN, SecurityScheme::ApiKey(token));
    let by = |scheme: &str| SecurityRequirement::new(scheme, Vec::<String>::new());
    api.security = Some(vec![by(KEY)]);
    for (path, item) in &mut api.paths.paths {
        let shape = Shape::of(path);
        let PathItem { get, put, post, delete, patch, .. } = item;
        if let Some(get) = get.as_mut().filter(|_| stream_token::is_taken(&Method::GET, path)) {
            get.security = Some(vec![by(KEY), by(TOKEN)]);
        }
        for operation in [get, put, post, delete, patch].into_iter().flatten() {
            let mut responses = shape.described(&OF_ANY_ROUTE);
            if path.starts_with("/health/") {
                operation.security = Some(Vec::new());
            } else {
                responses.extend(shape.described(&OF_ANY_KEY));
            }
            if !is_event_stream(path) {
                responses.extend(shape.described(&OF_NO_STREAM));
            }
            if operation.request_body.is_some() {
                responses.extend(shape.described(&OF_ANY_BODY));
            }
            for (status, response) in responses {
                operation.responses.responses.entry(status).or_insert(response);
            }
        }
    }
}
