//! State and options of the REST APIs.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::domain::View;
use crate::service::Service;

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
    pub(super) metrics: PrometheusHandle,
}

impl Gateway {
    /// State of the handlers over this service; `/metrics` renders `metrics`.
    #[must_use]
    pub fn new(service: Service, options: GatewayOptions, metrics: PrometheusHandle) -> Self {
        Self { service, options, metrics }
    }
}
