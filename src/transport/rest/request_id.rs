//! Id of a request, in the response header `x-request-id` and in the bodies of some APIs.

use std::future::Future;

use uuid::Uuid;

tokio::task_local! {
    static REQUEST_ID: String;
}

/// Id of the current request: `req_…`. Outside of a request, a new id.
pub fn current() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_else(|_| new())
}

/// A new id.
pub fn new() -> String {
    format!("req_{}", Uuid::now_v7().simple())
}

/// Runs the work of the request with this id.
pub fn scope<F: Future>(id: String, work: F) -> impl Future<Output = F::Output> {
    REQUEST_ID.scope(id, work)
}
