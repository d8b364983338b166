//! The way of a call to its service.

use std::task::{Context, Poll, ready};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

/// Hands the calls of one service to it at once, and all others to the routes. Nearly all calls are of one service, and on their
/// way through the routers their bodies and answers would be boxed anew and their path matched twice.
#[derive(Clone, Debug)]
pub struct Dispatch<S, R> {
    service: S,
    name: &'static str,
    routes: R,
}

impl<S, R> Dispatch<S, R> {
    /// Around the routes. `name` is the service's, `package.Service`.
    pub fn layer(service: S, name: &'static str) -> impl Layer<R, Service = Self> + Clone
    where
        S: Clone,
    {
        tower::layer::layer_fn(move |routes| Self { service: service.clone(), name, routes })
    }

    fn is_of_service(&self, path: &str) -> bool {
        let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(self.name));
        method.is_some_and(|method| method.starts_with('/'))
    }
}

impl<S, R> Service<Request<Body>> for Dispatch<S, R>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    R: Service<Request<Body>, Response = Response<Body>, Error = S::Error>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, R::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.service.poll_ready(cx))?;
        self.routes.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if self.is_of_service(request.uri().path()) {
            Either::Left(self.service.call(request))
        } else {
            Either::Right(self.routes.call(request))
        }
    }
}
