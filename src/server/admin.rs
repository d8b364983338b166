//! The listener of `--admin-listen`: metrics, reflection, `/openapi.json` and health for operators, and no events.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_server::{Health, HealthServer};

use super::bind::Bound;
use super::{Server, access, parts};
use crate::transport::boundary::Boundary;
use crate::transport::connections::{self, MaxConnections};
use crate::transport::memory::Memory;
use crate::transport::rest::Offer;
use crate::transport::tls::Certificates;

/// Concurrent connections of probes, monitoring and people.
const MAX_CONNECTIONS: MaxConnections = MaxConnections { of_all: 64, of_address: 64, handshakes_per_second: 0 };

/// The admin listener while serving.
pub(crate) struct Admin {
    end: CancellationToken,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Server {
    /// Serves beside the main listener, with the same certificates, until the end of the drain, so that operators can watch the drain.
    pub(crate) fn serve_admin(
        &self,
        bound: Bound,
        health: HealthServer<impl Health>,
        memory: Arc<Memory>,
        certificates: Option<Arc<Certificates>>,
    ) -> Admin {
        let end = CancellationToken::new();
        let address = bound.address();
        let (ended, cut) = (end.clone().cancelled_owned(), end.clone());
        let server = parts::transport(&self.options, &self.memory_shares)
            .layer(Boundary::layer(self.boundary(bound.is_loopback()), Arc::clone(&memory)))
            .layer(self.web(Arc::clone(&memory)))
            .layer(access::layer(&self.authenticator, &self.options))
            .add_routes(self.routes(health, Offer::Operation))
            .serve_with_incoming_shutdown(
                connections::accept(bound.listeners, MAX_CONNECTIONS, memory, cut, certificates),
                ended,
            );
        tracing::info!(%address, "metrics, reflection and /openapi.json are served apart");
        Admin { end, task: tokio::spawn(server) }
    }
}

impl Admin {
    /// Stops the listener and cuts open connections.
    pub(crate) async fn end(self) {
        self.end.cancel();
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the admin listener ended with an error"),
            Err(panic) => tracing::error!(%panic, "the task of the admin listener panicked"),
        }
    }
}
