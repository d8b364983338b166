//! The rules of host, origin and protocol.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{CONTENT_TYPE, EXPECT, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body::Body as _;
use percent_encoding::percent_decode_str;
use tonic::body::Body;

use crate::transport::grpc::{WebRequest, is_web_type};
use crate::transport::rest::HttpError;

/// Permissions and size limits of requests.
#[derive(Clone, Debug)]
pub struct BoundaryOptions {
    /// Whether the server listens on loopback: only loopback names and [`allowed_hosts`](Self::allowed_hosts) are accepted.
    pub is_loopback: bool,
    /// Whether the listener speaks TLS: the scheme of its own pages is then `https`.
    pub is_tls: bool,
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

/// Protocol of a request, by content type and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, by the content type on any path.
    Grpc,
    /// gRPC-web, on the path of a gRPC service.
    Web(WebRequest),
    /// All others.
    Rest,
}

/// Answer to what is no gRPC on the path of a gRPC service.
const NO_GRPC: &str = "this path takes gRPC, which is served over HTTP/2 with the content type application/grpc, and gRPC-web with \
    application/grpc-web+proto; JSON is for the REST APIs, see /openapi.json";

impl BoundaryOptions {
    /// Checks the name of the server, the origin of the page, the protocol and the path.
    pub fn check(&self, request: &Request<Body>, protocol: Protocol) -> Result<(), HttpError> {
        let authority = authority(request)?;
        if authority.as_deref().is_some_and(|authority| !self.is_allowed_host(authority)) {
            let message = "the server is not called by this name; --allowed-hosts lists those besides loopback";
            return Err(HttpError::new(StatusCode::FORBIDDEN, "HOST_NOT_ALLOWED", message));
        }
        self.check_origin(request, authority.as_deref())?;
        self.check_protocol(request, protocol)?;
        match percent_decode_str(request.uri().path()).decode_utf8() {
            Ok(_) => Ok(()),
            Err(_) => Err(HttpError::malformed("the path must be UTF-8, percent-encoded")),
        }
    }

    /// The protocol of a request.
    pub fn protocol(&self, request: &Request<Body>) -> Protocol {
        if is_grpc_type(request.headers()) {
            return Protocol::Grpc;
        }
        if !self.is_grpc_path(request.uri().path()) {
            return Protocol::Rest;
        }
        if is_web_type(request.headers()) {
            return Protocol::Web(WebRequest::Call);
        }
        match *request.method() == Method::OPTIONS && !self.allowed_origins.is_empty() {
            true => Protocol::Web(WebRequest::Preflight),
            false => Protocol::Rest,
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
        let scheme = if self.is_tls { "https" } else { request.uri().scheme_str().unwrap_or("http") };
        let is_own = authority.is_some_and(|authority| is_own(origin, scheme, authority));
        if changes_nothing || is_own || self.allowed_origins.iter().any(is_listed) {
            return Ok(());
        }
        let message = "pages of this origin may not write here; --cors-origins lists those that may";
        Err(HttpError::new(StatusCode::FORBIDDEN, "ORIGIN_NOT_ALLOWED", message))
    }

    /// A page can send gRPC neither over HTTP/2 nor, without a preflight, as gRPC-web.
    fn check_protocol(&self, request: &Request<Body>, protocol: Protocol) -> Result<(), HttpError> {
        let is_taken = match protocol {
            Protocol::Grpc => request.version() == Version::HTTP_2,
            Protocol::Web(WebRequest::Preflight) => return Ok(()),
            Protocol::Web(WebRequest::Call) => true,
            Protocol::Rest if self.is_grpc_path(request.uri().path()) => false,
            Protocol::Rest => return Ok(()),
        };
        match (is_taken, request.method()) {
            (true, &Method::POST) => Ok(()),
            (true, method) => Err(HttpError::method_not_allowed(method)),
            (false, _) => Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", NO_GRPC)),
        }
    }

    /// Whether the path is one of a gRPC service.
    pub fn is_grpc_path(&self, path: &str) -> bool {
        let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(service, _)| service);
        service.is_some_and(|service| self.grpc_services.contains(&service))
    }
}

/// Host of the request: `:authority` of HTTP/2, an absolute target, or the `Host` header; all must agree. Only HTTP/1.0, which
/// no browser speaks, may omit the host.
fn authority(request: &Request<Body>) -> Result<Option<Cow<'_, Authority>>, HttpError> {
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
        (Some(target), _) => Cow::Borrowed(target),
        (None, Some(named)) => Cow::Owned(named),
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

/// Whether the content type is `application/grpc`, with or without a format suffix. gRPC-web is another type.
pub fn is_grpc_type(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return false };
    let rest = content_type.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Whether a connection of HTTP/1 ends with the answer to this request: one whose body no handler reads. Hyper discards such a
/// body without a write between two requests, so that the heads of answers to a client that sends many would pile up in memory.
pub fn is_last(request: &Request<Body>) -> bool {
    let reads_body = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    has_body_over_http_1(request) && (!reads_body || request.headers().contains_key(EXPECT))
}

/// Whether the request has a body on a connection of HTTP/1.
pub fn has_body_over_http_1(request: &Request<Body>) -> bool {
    request.version() < Version::HTTP_2 && !request.body().is_end_stream()
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
    fn the_own_scheme_is_https_where_the_listener_speaks_tls() {
        let is_taken = |is_tls, origin: &str| {
            let options = BoundaryOptions {
                is_loopback: true,
                is_tls,
                allowed_hosts: Vec::new(),
                allowed_origins: Vec::new(),
                grpc_services: Vec::new(),
                max_message_bytes: 1,
                max_page_bytes: 1,
            };
            let request = Request::post("/api/ingest").header(HOST, "localhost:7800").header(ORIGIN, origin);
            options.check(&request.body(Body::empty()).unwrap(), Protocol::Rest).is_ok()
        };
        assert!(is_taken(true, "https://localhost:7800") && !is_taken(true, "http://localhost:7800"));
        assert!(is_taken(false, "http://localhost:7800") && !is_taken(false, "https://localhost:7800"));
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
