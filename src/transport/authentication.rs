//! The layer that makes a [`Caller`] of the key or the stream token of each request, for gRPC and REST alike. Handlers pass the caller to the
//! service, which decides what the caller may do.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, Either};
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, Method, Request, Response};
use tonic::body::Body;
use tower::Layer;

use super::boundary::is_grpc_type;
use super::caller::Refusal;
use super::memory::Account;
use super::places::client_address;
use super::{console, status, stream_token};
use crate::domain::{Error, KeyId, Result};
use crate::service::access::audit::{self, Refusals};
use crate::service::access::{Authenticator, Caller, Presented};

/// Routes that operators may open for requests without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenRoute {
    /// `/metrics`.
    Metrics,
    /// `/openapi.json`.
    OpenApi,
    /// gRPC reflection.
    Reflection,
}

/// Tower service that authenticates requests, see the module.
#[derive(Clone)]
pub struct Authentication<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What the layer has for all requests. In one place, because each request clones the service.
struct Shared {
    authenticator: Arc<Authenticator>,
    open_routes: Vec<OpenRoute>,
    refusals: RecentRefusals,
}

/// Refusals recorded lately, by address and reason.
type RecentRefusals = Refusals<(Option<IpAddr>, &'static str)>;

impl<S> Authentication<S> {
    /// Layer around all services and routes. Health checks, the files of the console and `open_routes` need no key.
    pub fn layer(
        authenticator: Arc<Authenticator>,
        open_routes: Vec<OpenRoute>,
    ) -> impl Layer<S, Service = Self> + Clone {
        let shared = Arc::new(Shared { authenticator, open_routes, refusals: RecentRefusals::default() });
        tower::layer::layer_fn(move |inner| Self { inner, shared: Arc::clone(&shared) })
    }

    /// Whether the request is served without a key. A preflight of CORS never has one.
    fn needs_no_key(&self, request: &Request<Body>) -> bool {
        let path = request.uri().path();
        let open = |route: &OpenRoute| match route {
            OpenRoute::Metrics => path == "/metrics",
            OpenRoute::OpenApi => path == "/openapi.json",
            OpenRoute::Reflection => path.starts_with("/grpc.reflection."),
        };
        *request.method() == Method::OPTIONS
            || path.starts_with("/health/")
            || console::is_file(path)
            || path.starts_with("/grpc.health.v1.Health/")
            || self.shared.open_routes.iter().any(open)
    }
}

impl<S> tower::Service<Request<Body>> for Authentication<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if self.needs_no_key(&request) {
            return Either::Left(self.inner.call(request));
        }
        let from = address(request.extensions());
        let token = stream_token::take(&mut request);
        let presented = presented(request.headers(), token.as_deref());
        let known = match self
            .shared
            .authenticator
            .known(&presented, from)
            .map(|known| known.map_err(Refused::from).and_then(counted))
        {
            Some(Ok(caller)) => {
                // The usual case: no wait for the store.
                put(&mut request, caller);
                return Either::Left(self.inner.call(request));
            }
            Some(Err(refused)) => Some(refused),
            None => None,
        };
        let presented = presented.into_owned();
        let shared = Arc::clone(&self.shared);
        // `poll_ready` was called on this instance; the clone takes the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Either::Right(Box::pin(async move {
            let refused = match known {
                Some(refused) => refused,
                None => {
                    match shared.authenticator.caller(&presented, from).await.map_err(Refused::from).and_then(counted) {
                        Ok(caller) => {
                            put(&mut request, caller);
                            return inner.call(request).await;
                        }
                        Err(refused) => refused,
                    }
                }
            };
            match refuse(&shared.refusals, &mut request, refused.in_time().await) {
                Some(answer) => Ok(answer),
                None => inner.call(request).await,
            }
        }))
    }
}

/// Why a request has no caller.
struct Refused {
    error: Error,
    /// The caller over its limit.
    over_limit: Option<Caller>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, over_limit: None }
    }
}

impl Refused {
    /// The error, after the delay of refusals for a caller over its limit.
    async fn in_time(self) -> Error {
        if let Some(caller) = self.over_limit {
            caller.delay_refusal().await;
        }
        self.error
    }
}

/// Counts the request of a caller.
fn counted(caller: Caller) -> Result<Caller, Refused> {
    match caller.count_request() {
        Ok(()) => Ok(caller),
        Err(error) => Err(Refused { error, over_limit: Some(caller) }),
    }
}

/// Address that failed keys count for. Every connection has an account with the address of its peer.
fn address(extensions: &Extensions) -> IpAddr {
    let account = extensions.get::<Arc<Account>>();
    account.map_or(Ipv4Addr::UNSPECIFIED.into(), |account| client_address(account.address()))
}

/// Puts the caller into the request.
fn put(request: &mut Request<Body>, caller: Caller) {
    let caller = match request.extensions().get::<Arc<Account>>() {
        Some(account) => caller.at(account.address()),
        None => caller,
    };
    request.extensions_mut().insert(caller);
}

/// Answers a refused gRPC call. A refused REST request goes on to the routes, with a [`Refusal`] and no caller.
fn refuse(refusals: &RecentRefusals, request: &mut Request<Body>, error: Error) -> Option<Response<Body>> {
    let address = request.extensions().get::<Arc<Account>>().map(|account| account.address());
    if refusals.is_due((address, error.reason())) {
        let key_id = match presented(request.headers(), None) {
            Presented::Key(Cow::Borrowed(text)) => key_id(text),
            _ => None,
        };
        audit::refused(key_id, address, &error);
    }
    if is_grpc_type(request.headers()) {
        return Some(status::from_error(&error).into_http());
    }
    request.extensions_mut().insert(Refusal(error));
    None
}

/// The id in front of the secret of a presented key, if it has the form of one.
fn key_id(presented: &str) -> Option<&str> {
    presented.split_once(':').map(|(key_id, _)| key_id).filter(|key_id| KeyId::parse(key_id).is_ok())
}

/// The key of the header `Authorization: Bearer …`; without the header the token, if there is one.
fn presented<'a>(headers: &'a HeaderMap, token: Option<&'a str>) -> Presented<'a> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, others) = (values.next(), values.next());
    let Some(value) = value else {
        return token.map_or(Presented::Nothing, |token| Presented::Token(Cow::Borrowed(token)));
    };
    match value.to_str().ok().and_then(|value| value.trim().split_once(' ')) {
        Some((scheme, key)) if others.is_none() && scheme.eq_ignore_ascii_case("bearer") => {
            Presented::Key(Cow::Borrowed(key.trim()))
        }
        _ => Presented::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_bearer_of_one_header_and_a_token_counts_without_the_header_only() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            match presented(&headers, Some("token")) {
                Presented::Nothing => "nothing".to_owned(),
                Presented::Malformed => "malformed".to_owned(),
                Presented::Key(text) => format!("key {text}"),
                Presented::Token(text) => format!("token {text}"),
            }
        };
        assert_eq!(of(&[]), "token token");
        assert!(matches!(presented(&HeaderMap::new(), None), Presented::Nothing));
        for good in ["Bearer key_a:b", "bearer key_a:b", "BEARER   key_a:b "] {
            assert_eq!(of(&[good]), "key key_a:b", "{good}");
        }
        for bad in [&["Bearer"][..], &["Basic key_a:b"], &["key_a:b"], &["Bearer a", "Bearer a"], &[""]] {
            assert_eq!(of(bad), "malformed", "{bad:?}");
        }
    }
}
