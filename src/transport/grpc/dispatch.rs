//! Direct dispatch of calls to one gRPC service, past the routers.

use std::task::{Context, Poll, ready};

use futures_util::future::Either;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

/// Passes calls of one service to the service directly, and all other calls to the routes. Nearly all calls belong to one
/// service, and the routers would box each body and answer again and match the path twice.
#[derive(Clone, Debug)]
pub struct Dispatch<S, R> {
    service: S,
    name: &'static str,
    routes: R,
}

impl<S, R> Dispatch<S, R> {
    /// Layer around the routes. `name` is the full name of the service, `package.Service`.
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
