//! State and options of the REST APIs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use crate::domain::{Result, View};
use crate::service::Service;
use crate::transport::caller::called;

/// Streams that read their runs up to their cursors at a time. More take longer together than one after the other, and take the
/// store from all other calls.
const MAX_RESUMING: usize = 4;

/// Options of the REST APIs. Each field is an option of `runlog serve`.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Origins allowed to call from a browser; `*` allows any origin; empty allows only pages of the server itself.
    pub cors_origins: Vec<String>,
    /// View of payloads for requests without `view`.
    pub default_view: View,
    /// Deadline for the response of a call. The body of an event stream may take longer.
    pub request_timeout: Duration,
    /// Longest pause of an event stream; then a heartbeat is sent.
    pub sse_heartbeat: Duration,
}

/// State shared by all handlers.
#[derive(Clone)]
pub struct Gateway {
    /// The service, shared with gRPC.
    pub service: Service,
    /// Options of the REST APIs.
    pub options: GatewayOptions,
    /// A permit for each stream that may read its run up to its cursor now, of those that have to.
    pub resuming: Arc<Semaphore>,
    pub(super) metrics: PrometheusHandle,
}

impl Gateway {
    /// State of the handlers over this service; `/metrics` renders `metrics`.
    #[must_use]
    pub fn new(service: Service, options: GatewayOptions, metrics: PrometheusHandle) -> Self {
        Self { service, options, resuming: Arc::new(Semaphore::new(MAX_RESUMING)), metrics }
    }

    /// The view of payloads for this request, as far as the caller may have it.
    pub fn view(&self, requested: Option<View>) -> Result<View> {
        self.service.view(requested, self.options.default_view)
    }
}

impl FromRequestParts<Gateway> for Gateway {
    type Rejection = Infallible;

    /// The state of a handler, with the service for the caller of the request.
    async fn from_request_parts(parts: &mut Parts, state: &Gateway) -> Result<Self, Infallible> {
        Ok(Self { service: called(&state.service, &parts.extensions), ..state.clone() })
    }
}
