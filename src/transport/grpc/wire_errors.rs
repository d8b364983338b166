//! Adds a reason to refusals by tonic, see [`status::from_wire`], applies the deadline of calls, and counts calls. The timeout
//! of tonic is not used, because tonic answers CANCELLED without details.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use foldhash::HashMap;
use http::uri::PathAndQuery;
use parking_lot::RwLock;
use tonic::Status;
use tower::{Layer, Service};

use crate::domain::Error;
use crate::telemetry;
use crate::transport::status;

/// Tower service in which every error has a reason.
#[derive(Clone, Debug)]
pub struct WireErrors<S> {
    inner: S,
    timeout: Duration,
    answered: Answered,
}

/// Longest time before the caller's deadline at which a call is given up.
const MAX_MARGIN: Duration = Duration::from_millis(20);

impl<S> WireErrors<S> {
    /// Layer around all services. `timeout` is the longest time until an answer, or until the begin of a stream.
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
        // A cheap clone: it shares the buffer of the request head.
        let (path, answered) = (request.uri().path_and_query().cloned(), self.answered.clone());
        let deadline = match client_timeout(request.headers()) {
            Ok(deadline) => deadline,
            Err(error) => {
                // The path is not checked yet, so it must not become a label.
                counter("none", INVALID_ARGUMENT).increment(1);
                return Box::pin(async move { Ok(status::from_error(&error).into_http()) });
            }
        };
        let is_callers = deadline.is_some_and(|deadline| deadline <= self.timeout);
        let timeout = deadline.map_or(self.timeout, |deadline| (deadline - margin(deadline)).min(self.timeout));
        let response = tokio::time::timeout(timeout, self.inner.call(request));
        Box::pin(async move {
            let path = path.as_ref().map_or("", PathAndQuery::path);
            let Ok(response) = response.await else {
                let given_up = status::timed_out(path, is_callers).into_http();
                answered.count(path, given_up.headers());
                return Ok(given_up);
            };
            let response = response?;
            answered.count(path, response.headers());
            // A trailers-only response has the status in the headers. tonic refuses requests in this form.
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

/// Time before the caller's deadline at which the call is given up, so that the answer comes in time, and before tonic's own answer,
/// which has no reason.
fn margin(deadline: Duration) -> Duration {
    (deadline / 4).min(MAX_MARGIN)
}

/// Deadline of the caller, from `grpc-timeout`. tonic ignores a malformed value; here the call is refused.
fn client_timeout(headers: &http::HeaderMap) -> Result<Option<Duration>, Error> {
    const NAME: &str = "grpc-timeout";
    let mut given = headers.get_all(NAME).iter();
    let (Some(value), second) = (given.next(), given.next()) else { return Ok(None) };
    let parse = || {
        let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
        let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = is_number.then(|| digits.parse().ok()).flatten()?;
        Some(match unit {
            "H" => Duration::from_secs(number * 3_600),
            "M" => Duration::from_secs(number * 60),
            "S" => Duration::from_secs(number),
            "m" => Duration::from_millis(number),
            "u" => Duration::from_micros(number),
            "n" => Duration::from_nanos(number),
            _ => return None,
        })
    };
    match (parse(), second) {
        (Some(timeout), None) => Ok(Some(timeout)),
        _ => Err(Error::invalid(NAME, "must be given once, as 1 to 8 digits and one of H, M, S, m, u, n")),
    }
}

/// Counters of calls by method and code. Counters of successful calls are cached by path: the usual call allocates no label.
#[derive(Clone, Debug, Default)]
struct Answered(Arc<RwLock<HashMap<String, metrics::Counter>>>);

impl Answered {
    fn count(&self, path: &str, headers: &http::HeaderMap) {
        match headers.get("grpc-status").and_then(|code| code.to_str().ok()) {
            None | Some("0") => self.count_ok(path),
            // Unknown methods share one label, so that clients cannot create labels.
            Some(UNIMPLEMENTED) => counter("none", UNIMPLEMENTED).increment(1),
            Some(code) => counter(path, code).increment(1),
        }
    }

    fn count_ok(&self, path: &str) {
        // A poisoned lock is usable: each change of the map is a single insert.
        if let Some(ok) = self.0.read().get(path) {
            return ok.increment(1);
        }
        let ok = counter(path, "0");
        ok.increment(1);
        // Only existing methods succeed, so the map stays small.
        self.0.write().insert(path.to_owned(), ok);
    }
}

/// `tonic::Code::Unimplemented` and `InvalidArgument`, as values of the header.
const UNIMPLEMENTED: &str = "12";
const INVALID_ARGUMENT: &str = "3";

fn counter(method: &str, code: &str) -> metrics::Counter {
    telemetry::GRPC_REQUESTS.series(&[("method", method.to_owned()), ("code", code.to_owned())])
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
            // A successful answer has the status in the trailers, a refusal in the headers.
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
    fn a_timeout_is_digits_and_a_unit_and_anything_else_is_refused_by_name() {
        let parse = |values: &[&str]| {
            let mut headers = http::HeaderMap::new();
            for value in values {
                headers.append("grpc-timeout", value.parse().unwrap());
            }
            client_timeout(&headers)
        };
        for (value, timeout) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("5m", Duration::from_millis(5)),
            ("0u", Duration::ZERO),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(parse(&[value]).unwrap(), Some(timeout), "{value}");
        }
        assert_eq!(parse(&[]).unwrap(), None);
        for values in
            [&[""][..], &["S"], &["1"], &["1s"], &["-1S"], &["+1S"], &["1.5S"], &["123456789S"], &["1S", "1S"]]
        {
            assert!(parse(values).unwrap_err().to_string().starts_with("grpc-timeout: must be"), "{values:?}");
        }
    }

    #[test]
    fn the_codes_are_tonics() {
        assert_eq!(UNIMPLEMENTED, (tonic::Code::Unimplemented as i32).to_string());
        assert_eq!(INVALID_ARGUMENT, (tonic::Code::InvalidArgument as i32).to_string());
    }
}
