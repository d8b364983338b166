//! Error responses in `/openapi.json`.

use std::collections::BTreeMap;

use utoipa::ToSchema;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

/// Error responses with a body of this type: status and description of each.
#[must_use]
pub fn described<Body: ToSchema>(statuses: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let response = |description: &str| {
        let content = Content::new(Some(Ref::from_schema_name(Body::name())));
        ResponseBuilder::new().description(description).content("application/json", content).build()
    };
    statuses.iter().map(|(status, text)| ((*status).to_owned(), response(text).into())).collect()
}
