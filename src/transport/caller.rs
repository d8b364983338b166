//! The caller of a request, as the layer of [`authentication`](super::authentication) leaves it for the handlers.

use http::Extensions;

use crate::domain::Error;
use crate::service::Service;
use crate::service::access::Caller;

/// The service for the caller of a request. Without this layer, in a program that calls itself, the caller of the service.
pub fn called(service: &Service, extensions: &Extensions) -> Service {
    extensions.get::<Caller>().map_or_else(|| service.clone(), |caller| service.for_caller(caller.clone()))
}

/// Why a REST request is not served, for the middleware of the routes: a page of another origin gets the refusal with the headers
/// of CORS.
#[derive(Clone, Debug)]
pub struct Refusal(pub Error);
