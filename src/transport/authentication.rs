//! The layer that makes a [`Caller`] of the key of each request, for gRPC and REST alike. Handlers pass the caller to the
//! service, which decides what the caller may do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, Method, Request, Response};
use tonic::body::Body;
use tower::Layer;

use super::boundary::{is_grpc_type, refused};
use crate::domain::access::KeyProblem;
use crate::domain::{Error, Result};
use crate::service::Service;
use crate::service::access::{Authenticator, Caller};

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
    authenticator: Arc<Authenticator>,
    open_routes: Arc<[OpenRoute]>,
}

impl<S> Authentication<S> {
    /// Layer around all services and routes. Health checks and `open_routes` need no key.
    pub fn layer(
        authenticator: Arc<Authenticator>,
        open_routes: Arc<[OpenRoute]>,
    ) -> impl Layer<S, Service = Self> + Clone {
        tower::layer::layer_fn(move |inner| Self {
            inner,
            authenticator: Arc::clone(&authenticator),
            open_routes: Arc::clone(&open_routes),
        })
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
            || path.starts_with("/grpc.health.v1.Health/")
            || self.open_routes.iter().any(open)
    }
}

impl<S> tower::Service<Request<Body>> for Authentication<S>
where
    S: tower::Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if self.needs_no_key(&request) {
            return Box::pin(self.inner.call(request));
        }
        let presented = presented(request.headers());
        if let Ok(presented) = &presented
            && let Some(caller) = self.authenticator.known(*presented)
        {
            // The usual case: no wait for the store.
            return match caller {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    Box::pin(self.inner.call(request))
                }
                Err(error) => match refusal(&mut request, error) {
                    Some(response) => Box::pin(async move { Ok(response) }),
                    None => Box::pin(self.inner.call(request)),
                },
            };
        }
        let presented = presented.map(|key| key.map(ToOwned::to_owned));
        let authenticator = Arc::clone(&self.authenticator);
        // `poll_ready` was called on this instance; the clone takes the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Box::pin(async move {
            let caller = match presented {
                Ok(key) => authenticator.caller(key.as_deref()).await,
                Err(problem) => Err(Error::Unauthenticated(problem)),
            };
            match caller {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(error) => match refusal(&mut request, error) {
                    Some(response) => Ok(response),
                    None => inner.call(request).await,
                },
            }
        })
    }
}

/// The service for the caller of a request. Without this layer, in a program that calls itself, the caller of the service.
pub fn called(service: &Service, extensions: &Extensions) -> Service {
    extensions.get::<Caller>().map_or_else(|| service.clone(), |caller| service.for_caller(caller.clone()))
}

/// Why a REST request is not served, for the middleware of the routes: a page of another origin gets the refusal with the headers
/// of CORS.
#[derive(Clone, Debug)]
pub struct Refusal(pub Error);

/// The refusal of a gRPC call. A REST request goes on to the routes, with a [`Refusal`] and no caller.
fn refusal(request: &mut Request<Body>, error: Error) -> Option<Response<Body>> {
    if is_grpc_type(request.headers()) {
        return Some(refused(request, true, &error.into()));
    }
    request.extensions_mut().insert(Refusal(error));
    None
}

/// The key of the header `Authorization: Bearer …`; `None` without the header.
fn presented(headers: &HeaderMap) -> Result<Option<&str>, KeyProblem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(KeyProblem::Invalid);
    }
    let (scheme, key) =
        value.to_str().ok().and_then(|value| value.trim().split_once(' ')).ok_or(KeyProblem::Invalid)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(key.trim())) } else { Err(KeyProblem::Invalid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_bearer_of_one_header() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            presented(&headers).map(|key| key.map(ToOwned::to_owned))
        };
        assert_eq!(of(&[]), Ok(None));
        for good in ["Bearer key_a:b", "bearer key_a:b", "BEARER   key_a:b "] {
            assert_eq!(of(&[good]), Ok(Some("key_a:b".to_owned())), "{good}");
        }
        for bad in [&["Bearer"][..], &["Basic key_a:b"], &["key_a:b"], &["Bearer a", "Bearer a"], &[""]] {
            assert_eq!(of(bad), Err(KeyProblem::Invalid), "{bad:?}");
        }
    }
}
