//! Gives the errors of the wire layer itself a reason, as all others have: see [`status::from_wire`]. A call that takes
//! too long is answered here for the same reason: tonic's own timeout says CANCELLED and nothing more.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Status;
use tower::{Layer, Service};

use crate::transport::status;

/// A server whose every error has a reason.
#[derive(Clone, Debug)]
pub struct WireErrors<S> {
    inner: S,
    timeout: Duration,
    answered: Answered,
}

impl<S> WireErrors<S> {
    /// Around all services. `timeout` is for a call to be answered, or for a stream to begin.
    pub fn layer(timeout: Duration) -> impl Layer<S, Service = Self> + Clone {
        let answered = Answered::default();
        tower::layer::layer_fn(move |inner| Self { inner, timeout, answered: answered.clone() })
    }
}

impl<S, RequestBody, Body> Service<http::Request<RequestBody>> for WireErrors<S>
where
    S: Service<http::Request<RequestBody>, Response = http::Response<Body>>,
    S::Future: Send + 'static,
    Body: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<RequestBody>) -> Self::Future {
        // Cheap to clone: the path is a part of the head that was read.
        let (uri, answered) = (request.uri().clone(), self.answered.clone());
        let response = tokio::time::timeout(self.timeout, self.inner.call(request));
        Box::pin(async move {
            let Ok(response) = response.await else {
                return Ok(status::timed_out(uri.path()).into_http());
            };
            let response = response?;
            answered.count(uri.path(), response.headers());
            // An error without a body has its status among the headers; that is how the wire layer refuses.
            let refused = response.headers().get("grpc-status").is_some();
            match refused.then(|| Status::from_header_map(response.headers())).flatten() {
                Some(status) if status.code() != tonic::Code::Ok && status.details().is_empty() => {
                    Ok(status::from_wire(status).into_http())
                }
                _ => Ok(response),
            }
        })
    }
}

/// Counts calls by method and code. The counters of what was answered well are kept, so that the usual call looks one up
/// by its path and makes no text.
#[derive(Clone, Debug, Default)]
struct Answered(Arc<RwLock<HashMap<String, metrics::Counter>>>);

impl Answered {
    fn count(&self, path: &str, headers: &http::HeaderMap) {
        match headers.get("grpc-status").and_then(|code| code.to_str().ok()) {
            None | Some("0") => self.count_ok(path),
            // What no method answers to has one name for all, or anybody could make up new ones.
            Some(UNIMPLEMENTED) => counter("none", UNIMPLEMENTED).increment(1),
            Some(code) => counter(path, code).increment(1),
        }
    }

    fn count_ok(&self, path: &str) {
        // A panic elsewhere leaves the map whole: it is changed in one step.
        if let Some(ok) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(path) {
            return ok.increment(1);
        }
        let ok = counter(path, "0");
        ok.increment(1);
        // Only methods that are there answer well, so the map stays small.
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), ok);
    }
}

/// `tonic::Code::Unimplemented`, as the header has it.
const UNIMPLEMENTED: &str = "12";

fn counter(method: &str, code: &str) -> metrics::Counter {
    metrics::counter!("runlog_grpc_requests_total", "method" => method.to_owned(), "code" => code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_code_and_what_is_no_method_under_one_name() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let shown = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let answered = Answered::default();
            // A good answer has its status behind its body, a refusal has it here.
            answered.count("/s/M", &http::HeaderMap::new());
            answered.count("/s/M", &http::HeaderMap::new());
            for (path, code) in [("/s/M", "0"), ("/s/M", "3"), ("/made/up", "12"), ("/made/up/2", "12")] {
                let headers = [(http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static(code))];
                answered.count(path, &headers.into_iter().collect());
            }
        });
        let shown = shown.render();
        for (method, code, calls) in [("/s/M", "0", 3), ("/s/M", "3", 1), ("none", "12", 2)] {
            let line = format!("runlog_grpc_requests_total{{method=\"{method}\",code=\"{code}\"}} {calls}\n");
            assert!(shown.contains(&line), "{line} in {shown}");
        }
        assert!(!shown.contains("made/up"), "{shown}");
    }

    #[test]
    fn the_code_of_unimplemented_is_tonics() {
        assert_eq!(UNIMPLEMENTED, (tonic::Code::Unimplemented as i32).to_string());
    }
}
