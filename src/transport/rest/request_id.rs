//! Id of a request, for the header `X-Request-Id`, error bodies and events.

use std::cell::OnceCell;
use std::future::Future;

use axum::http::{HeaderMap, HeaderValue};
use uuid::Uuid;

tokio::task_local! {
    /// Empty until the id is asked for.
    static REQUEST_ID: OnceCell<String>;
}

/// Runs the future of one request, in which [`current`] always returns the same id.
pub fn scope<F: Future>(request: F) -> impl Future<Output = F::Output> {
    REQUEST_ID.scope(OnceCell::new(), request)
}

/// Id of the current request: `req_…`. Outside of a request, a new id.
pub fn current() -> String {
    let new = || format!("req_{}", Uuid::now_v7().simple());
    REQUEST_ID.try_with(|id| id.get_or_init(new).clone()).unwrap_or_else(|_| new())
}

/// Adds the header `X-Request-Id` to a response.
pub fn add_to(headers: &mut HeaderMap) {
    if let Ok(id) = HeaderValue::from_str(&current()) {
        headers.insert("x-request-id", id);
    }
}
