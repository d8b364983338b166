//! The outermost layer: checks of host, origin and protocol, and the memory of the call, before any handler reads the request.
//!
//! A browser sends some requests of any page to any server without a preflight, and a name owned by an attacker can resolve to
//! a loopback address (DNS rebinding). So a server on loopback accepts only loopback names, pages of other origins cannot
//! write, and gRPC requires a request that no page can send: HTTP/2 with the content type of gRPC.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use percent_encoding::percent_decode_str;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use super::grpc::WholeMessages;
use super::memory::{Account, Call, Memory};
use super::rest::{HttpError, is_packed, refuse};
use super::status::DOMAIN;
use crate::domain::Error;
use crate::telemetry;

/// Permissions and size limits of requests.
#[derive(Clone, Debug)]
pub struct BoundaryOptions {
    /// Whether the server listens on loopback: only loopback names and [`allowed_hosts`](Self::allowed_hosts) are accepted.
    pub is_loopback: bool,
    /// Accepted host names, with or without a port; `*` for any. Empty: any name, except on loopback.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may write; `*` for any.
    pub allowed_origins: Vec<String>,
    /// Full names of the gRPC services, as `package.Service`.
    pub grpc_services: Vec<&'static str>,
    /// Largest gRPC message, and largest body of other requests, bytes.
    pub max_message_bytes: usize,
    /// Largest page, bytes: memory charged for the answer to a read before the size is known.
    pub max_page_bytes: usize,
}

/// Tower service that checks requests and begins their calls, see the module.
#[derive(Clone, Debug)]
pub struct Boundary<S> {
    inner: S,
    options: Arc<BoundaryOptions>,
    memory: Arc<Memory>,
}

impl<S> Boundary<S> {
    /// Layer around all services and routes.
    pub fn layer(options: BoundaryOptions, memory: Arc<Memory>) -> impl Layer<S, Service = Self> + Clone {
        let options = Arc::new(options);
        tower::layer::layer_fn(move |inner| Self { inner, options: Arc::clone(&options), memory: Arc::clone(&memory) })
    }
}

impl<S> Service<Request<Body>> for Boundary<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_grpc = is_grpc_type(request.headers());
        if let Err(problem) = self.options.check(&request, is_grpc) {
            let response = refused(&request, is_grpc, &problem);
            return Box::pin(async move { Ok(response) });
        }
        const SERVED: &str = "every connection has an account";
        let account = request.extensions().get::<Arc<Account>>().unwrap_or_else(|| unreachable!("{SERVED}"));
        let (account, memory) = (Arc::clone(account), Arc::clone(&self.memory));
        let options = Arc::clone(&self.options);
        let is_probe = is_probe(request.uri().path());
        let call = memory.call(&account).or_else(|| if is_probe { memory.probe(&account) } else { None });
        let reads_a_page = !is_probe && reads_a_page(&request);
        if let Some(call) = &call
            && !reads_a_page
        {
            // The usual case: no wait for a place or for memory.
            let call = Arc::clone(call);
            let response = self.inner.call(counted(request, is_grpc, &memory, &options, &call));
            return Box::pin(async move { Ok(response.await?.map(|body| memory.answer(body, call))) });
        }
        // `poll_ready` was called on this instance; the clone takes the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let call = match call {
                Some(call) => Some(call),
                None => memory.later_call(&account).await,
            };
            let Some(call) = call else {
                return Ok(refused(&request, is_grpc, &overloaded("there are too many calls at a time").into()));
            };
            if reads_a_page {
                let Ok(room) = tokio::time::timeout(MAX_WAIT, call.room_for_a_page(options.max_page_bytes)).await
                else {
                    let no_room = overloaded("answers take all the memory that they may");
                    return Ok(refused(&request, is_grpc, &no_room.into()));
                };
                call.prepay(room);
            }
            let request = counted(request, is_grpc, &memory, &options, &call);
            Ok(inner.call(request).await?.map(|body| memory.answer(body, call)))
        })
    }
}

/// Adds the call to the request, and charges the body to the receive budget on arrival.
fn counted(
    mut request: Request<Body>,
    is_grpc: bool,
    memory: &Memory,
    options: &BoundaryOptions,
    call: &Arc<Call>,
) -> Request<Body> {
    let max_bytes = options.max_message_bytes;
    request.extensions_mut().insert(Arc::clone(call));
    let is_packed = is_packed(request.headers());
    request.map(|body| match is_grpc {
        true => Body::new(WholeMessages::counted(body, max_bytes, memory.intake(call))),
        false => memory.received(body, call, max_bytes, is_packed),
    })
}

/// Longest wait of a read for the memory of a page.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Delay after which a refused caller may retry.
const RETRY: Duration = Duration::from_secs(1);

fn overloaded(what: &'static str) -> Error {
    Error::Overloaded { what, retry_after: RETRY }
}

/// Whether the answer may be a page of events or runs, or a run with a long output. Such an answer is built as a whole;
/// streams charge memory for each frame instead.
fn reads_a_page(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    match *request.method() {
        Method::GET | Method::HEAD => !is_event_stream(path),
        Method::POST => ["/ListEvents", "/ListRuns", "/GetRun", "/cancel"].iter().any(|method| path.ends_with(method)),
        _ => false,
    }
}

fn is_event_stream(path: &str) -> bool {
    let mut from_the_end = path.rsplit('/');
    let last = [(); 4].map(|()| from_the_end.next());
    matches!(last, [Some("stream"), Some("events"), Some(_), Some("runs" | "structure-runs")])
}

/// Health checks and metrics. Monitoring also needs answers from a busy server, and these answers are small.
fn is_probe(path: &str) -> bool {
    path.starts_with("/health/") || path == "/metrics" || path == "/grpc.health.v1.Health/Check"
}

fn refused(request: &Request<Body>, is_grpc: bool, problem: &HttpError) -> Response<Body> {
    telemetry::REFUSED_REQUESTS.add_one(&[("reason", problem.reason)]);
    match is_grpc && request.version() == Version::HTTP_2 {
        true => as_status(problem).into_http(),
        false => refuse(request.uri().path(), problem).map(Body::new),
    }
}

impl BoundaryOptions {
    fn check(&self, request: &Request<Body>, is_grpc: bool) -> Result<(), HttpError> {
        let authority = authority(request)?;
        if authority.as_ref().is_some_and(|authority| !self.is_allowed_host(authority)) {
            let message = "the server is not called by this name; --allowed-hosts lists those besides loopback";
            return Err(HttpError::new(StatusCode::FORBIDDEN, "HOST_NOT_ALLOWED", message));
        }
        self.check_origin(request, authority.as_ref())?;
        self.check_protocol(request, is_grpc)?;
        match percent_decode_str(request.uri().path()).decode_utf8() {
            Ok(_) => Ok(()),
            Err(_) => Err(HttpError::malformed("the path must be UTF-8, percent-encoded")),
        }
    }

    fn is_allowed_host(&self, authority: &Authority) -> bool {
        if !self.is_loopback && self.allowed_hosts.is_empty() {
            return true;
        }
        let host = authority.host();
        let is_listed = |allowed: &String| {
            allowed == "*" || allowed.eq_ignore_ascii_case(host) || allowed.eq_ignore_ascii_case(authority.as_str())
        };
        // An address cannot be rebound by an attacker, and probes call machines by address.
        let is_address = !self.is_loopback && address_of(host).is_some();
        is_address || is_loopback_name(host) || self.allowed_hosts.iter().any(is_listed)
    }

    /// Pages of other origins may read as far as CORS allows, and cannot write.
    fn check_origin(&self, request: &Request<Body>, authority: Option<&Authority>) -> Result<(), HttpError> {
        let mut origins = request.headers().get_all(ORIGIN).iter();
        let (Some(origin), second) = (origins.next(), origins.next()) else { return Ok(()) };
        let (Ok(origin), None) = (origin.to_str(), second) else {
            return Err(HttpError::field("Origin", "must be given once, in visible ASCII characters"));
        };
        let changes_nothing = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let is_listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        let scheme = request.uri().scheme_str().unwrap_or("http");
        let is_own = authority.is_some_and(|authority| is_own(origin, scheme, authority));
        if changes_nothing || is_own || self.allowed_origins.iter().any(is_listed) {
            return Ok(());
        }
        let message = "pages of this origin may not write here; --cors-origins lists those that may";
        Err(HttpError::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", message))
    }

    fn check_protocol(&self, request: &Request<Body>, is_grpc: bool) -> Result<(), HttpError> {
        if !is_grpc && !self.is_grpc_path(request.uri().path()) {
            return Ok(());
        }
        if is_grpc && request.version() == Version::HTTP_2 {
            return match *request.method() {
                Method::POST => Ok(()),
                _ => Err(HttpError::method_not_allowed(request.method())),
            };
        }
        let message = "gRPC is served over HTTP/2 with the content type application/grpc; the JSON gateway takes JSON";
        Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message))
    }

    fn is_grpc_path(&self, path: &str) -> bool {
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(service, _)| service);
        service.is_some_and(|service| self.grpc_services.contains(&service))
    }
}

/// Host of the request: `:authority` of HTTP/2, an absolute target, or the `Host` header; all must agree. Only HTTP/1.0, which
/// no browser speaks, may omit the host.
fn authority(request: &Request<Body>) -> Result<Option<Authority>, HttpError> {
    let refused = |problem: &str| HttpError::new(StatusCode::BAD_REQUEST, "INVALID_HOST", format!("Host: {problem}"));
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(refused("must be given once"));
    }
    let named: Option<Authority> = match host {
        Some(host) => {
            let parsed = Authority::try_from(host.as_bytes()).map_err(|_| refused("must be a name or an address"))?;
            Some(parsed)
        }
        None => None,
    };
    let authority = match (request.uri().authority(), named) {
        (Some(target), Some(named)) if *target != named => return Err(refused("must be the one of the target")),
        (Some(target), _) => target.clone(),
        (None, Some(named)) => named,
        (None, None) if request.version() == Version::HTTP_10 => return Ok(None),
        (None, None) => return Err(refused("must be given")),
    };
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(refused("must be a name or an address"));
    }
    Ok(Some(authority))
}

fn is_loopback_name(host: &str) -> bool {
    host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost")
        || address_of(host).is_some_and(|address| address.to_canonical().is_loopback())
}

fn address_of(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether an origin equals the server's scheme, host and port.
fn is_own(origin: &str, scheme: &str, authority: &Authority) -> bool {
    let Some((of_scheme, of)) = origin.split_once("://") else { return false };
    let Ok(of) = Authority::try_from(of) else { return false };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    of_scheme.eq_ignore_ascii_case(scheme)
        && of.host().eq_ignore_ascii_case(authority.host())
        && port(&of) == port(authority)
}

fn as_status(problem: &HttpError) -> Status {
    let code = match problem.status {
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    let mut details = ErrorDetails::with_error_info(problem.reason, DOMAIN, HashMap::new());
    details.set_retry_info(problem.retry_after);
    Status::with_error_details(code, problem.text(), details)
}

/// Whether the content type is `application/grpc`, with or without a format suffix. gRPC-web is another type.
fn is_grpc_type(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_servers_own_by_scheme_host_and_port() {
        let own = |origin: &str, host: &str| is_own(origin, "http", &host.parse().unwrap());
        for (origin, host) in [
            ("http://localhost:7800", "localhost:7800"),
            ("http://LOCALHOST:7800", "localhost:7800"),
            ("http://localhost", "localhost:80"),
            ("http://[::1]:1", "[::1]:1"),
        ] {
            assert!(own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://localhost:7800", "localhost:7800"),
            ("http://localhost:7801", "localhost:7800"),
            ("http://localhost", "localhost:7800"),
            ("http://evil.example", "localhost:7800"),
            ("http://localhost.evil.example:7800", "localhost:7800"),
            ("null", "localhost:7800"),
            ("localhost:7800", "localhost:7800"),
            ("http://", "localhost:7800"),
        ] {
            assert!(!own(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn a_name_of_loopback_is_localhost_or_an_address_of_it() {
        for name in ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::]", "0.0.0.0", ""]
        {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn what_may_answer_with_a_page_or_a_long_run_waits_for_room_and_nothing_else_does() {
        let reads = |method: Method, path: &str| {
            reads_a_page(&Request::builder().method(method).uri(path).body(Body::empty()).unwrap())
        };
        for (method, path) in [
            (Method::POST, "/runlog.v1.EventService/ListEvents"),
            (Method::POST, "/runlog.v1.RunService/ListRuns"),
            (Method::POST, "/runlog.v1.RunService/GetRun"),
            (Method::POST, "/api/structure-runs/r/cancel"),
            (Method::POST, "/v1/runs/r/cancel"),
            (Method::GET, "/v1/runs/stream"),
            (Method::GET, "/api/events/stream"),
            (Method::HEAD, "/v1/runs"),
        ] {
            assert!(reads(method, path), "{path}");
        }
        for (method, path) in [
            (Method::POST, "/runlog.v1.EventService/Publish"),
            (Method::POST, "/runlog.v1.EventService/Subscribe"),
            (Method::POST, "/api/ingest"),
            (Method::GET, "/v1/runs/r/events/stream"),
            (Method::GET, "/api/runs/events/events/stream"),
            (Method::GET, "/api/structure-runs/r/events/stream"),
        ] {
            assert!(!reads(method, path), "{path}");
        }
    }

    #[test]
    fn grpc_web_and_other_types_are_no_grpc() {
        let is_grpc = |content_type: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            is_grpc_type(&headers)
        };
        for content_type in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
            assert!(is_grpc(content_type), "{content_type}");
        }
        for content_type in ["application/grpc-web", "application/grpc-web+proto", "text/plain", "application/json", ""]
        {
            assert!(!is_grpc(content_type), "{content_type}");
        }
        assert!(!is_grpc_type(&HeaderMap::new()));
    }
}
