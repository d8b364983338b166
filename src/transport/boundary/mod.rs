//! The outermost layer: checks of host, origin and protocol, and the memory of the call, before any handler reads the request;
//! and the header `X-Request-Id` of every response that is not gRPC.
//!
//! A browser sends some requests of any page to any server without a preflight, and a name owned by an attacker can resolve to
//! a loopback address (DNS rebinding). So a server on loopback accepts only loopback names, pages of other origins cannot
//! write, and gRPC requires a request that no page can send: HTTP/2 with the content type of gRPC. gRPC-web is for pages, and its
//! content type needs a preflight, which only listed origins pass.

mod needs;
mod rules;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::grpc::{WebRequest, WholeMessages, failed_web_call};
use super::memory::{self, Account, Call, Memory};
use super::rest::{HttpError, is_packed, refuse, request_id};
use super::status::Refusal;
use crate::domain::Error;
use crate::telemetry;
use needs::{is_probe, reads_a_page};
pub use rules::{BoundaryOptions, is_grpc_type};
use rules::{Protocol, has_body_over_http_1, is_last};

/// Tower service that checks requests and begins their calls, see the module.
#[derive(Clone, Debug)]
pub struct Boundary<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// What the boundary has for all requests. In one place, because each request clones the service.
#[derive(Debug)]
struct Shared {
    options: BoundaryOptions,
    memory: Arc<Memory>,
}

impl<S> Boundary<S> {
    /// Layer around all services and routes.
    pub fn layer(options: BoundaryOptions, memory: Arc<Memory>) -> impl Layer<S, Service = Self> + Clone {
        let shared = Arc::new(Shared { options, memory });
        tower::layer::layer_fn(move |inner| Self { inner, shared: Arc::clone(&shared) })
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
    type Future = Either<Answering<S::Future>, BoxFuture<'static, Result<Self::Response, Self::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let protocol = self.shared.options.protocol(&request);
        let is_grpc_path = || self.shared.options.is_grpc_path(request.uri().path());
        if protocol == Protocol::Grpc && request.version() == Version::HTTP_2 && is_grpc_path() {
            // Its responses have no request id.
            return self.serve(request, protocol);
        }
        let (is_last, may_be_unread) = (is_last(&request), has_body_over_http_1(&request));
        let response = self.serve(request, protocol);
        Either::Right(Box::pin(request_id::scope(async move {
            let mut response = response.await?;
            // The heads of refusals without a body, as those of gRPC-web, would pile up like those of `is_last`.
            let is_last = is_last || may_be_unread && response.body().is_end_stream();
            let headers = response.headers_mut();
            if is_last {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if !is_grpc_type(headers) {
                request_id::add_to(headers);
            }
            Ok(response)
        })))
    }
}

impl<S> Boundary<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    fn serve(&mut self, request: Request<Body>, protocol: Protocol) -> <Self as Service<Request<Body>>>::Future {
        let Shared { options, memory } = &*self.shared;
        if let Err(problem) = options.check(&request, protocol) {
            return Either::Right(Box::pin(async move { Ok(refused(&request, protocol, &problem)) }));
        }
        const SERVED: &str = "every connection has an account";
        let account = request.extensions().get::<Arc<Account>>().unwrap_or_else(|| unreachable!("{SERVED}"));
        let is_probe = is_probe(request.uri().path());
        let call = memory.call(account).or_else(|| if is_probe { memory.probe(account) } else { None });
        let reads_a_page = !is_probe && reads_a_page(&request);
        let call = match call {
            // The usual case: no wait for a place or for memory.
            Some(call) if !reads_a_page => {
                let request = self.shared.counted(request, protocol, &call);
                return Either::Left(Answering { response: self.inner.call(request), call: Some(call) });
            }
            call => call,
        };
        let (account, shared) = (Arc::clone(account), Arc::clone(&self.shared));
        // `poll_ready` was called on this instance; the clone takes the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        Either::Right(Box::pin(async move {
            let call = match call {
                Some(call) => Some(call),
                None => shared.memory.later_call(&account).await,
            };
            let Some(call) = call else {
                return Ok(refused(&request, protocol, &overloaded("there are too many calls at a time").into()));
            };
            if reads_a_page {
                let Ok(room) =
                    tokio::time::timeout(MAX_WAIT, call.room_for_a_page(shared.options.max_page_bytes)).await
                else {
                    let no_room = overloaded("answers take all the memory that they may");
                    return Ok(refused(&request, protocol, &no_room.into()));
                };
                call.prepay(room);
            }
            let request = shared.counted(request, protocol, &call);
            Answering { response: inner.call(request), call: Some(call) }.await
        }))
    }
}

pin_project! {
    /// The response to a call, whose body is charged to the memory of the call. No box, because most calls go this way.
    pub struct Answering<F> {
        #[pin]
        response: F,
        call: Option<Arc<Call>>,
    }
}

impl<F: Future<Output = Result<Response<Body>, E>>, E> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx))?;
        Poll::Ready(Ok(match this.call.take() {
            Some(call) => response.map(|body| memory::answer(body, call)),
            None => response,
        }))
    }
}

impl Shared {
    /// Adds the call to the request, and charges the body to the receive budget on arrival.
    fn counted(&self, mut request: Request<Body>, protocol: Protocol, call: &Arc<Call>) -> Request<Body> {
        let (memory, max_bytes) = (&self.memory, self.options.max_message_bytes);
        request.extensions_mut().insert(Arc::clone(call));
        if let Protocol::Web(web) = protocol {
            // Its messages are charged when they are translated.
            request.extensions_mut().insert(web);
            return request;
        }
        let is_packed = is_packed(request.headers());
        request.map(|body| match protocol {
            Protocol::Grpc => Body::new(WholeMessages::counted(body, max_bytes, memory.intake(call))),
            _ => memory.received(body, call, max_bytes, is_packed),
        })
    }
}

/// Longest wait of a read for the memory of a page.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Delay after which a refused caller may retry.
const RETRY: Duration = Duration::from_secs(1);

fn overloaded(what: &'static str) -> Error {
    Error::Overloaded { what, retry_after: RETRY }
}

/// The refusal of a request before any handler: a gRPC status, or an error in the shape of the API.
fn refused(request: &Request<Body>, protocol: Protocol, problem: &HttpError) -> Response<Body> {
    telemetry::REFUSED_REQUESTS.add_one(&[("reason", problem.reason)]);
    match protocol {
        Protocol::Grpc if request.version() == Version::HTTP_2 => as_status(problem).into_http(),
        Protocol::Web(WebRequest::Call) => failed_web_call(as_status(problem)),
        _ => refuse(request.uri().path(), problem).map(Body::new),
    }
}

fn as_status(problem: &HttpError) -> Status {
    let code = match problem.status {
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        _ => Code::InvalidArgument,
    };
    let refusal = Refusal {
        code,
        reason: problem.reason,
        message: problem.text(),
        field: problem.field.as_deref(),
        metadata: problem.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        retry_after: problem.retry_after,
    };
    refusal.into_status()
}
