//! The composition root: opens the store, wires the parts, binds the address, serves, drains.

mod access;
mod admin;
mod bind;
mod error;
mod health;
mod http;
mod offline;
mod open_files;
mod parts;
mod scrub;

use std::net::SocketAddr;
use std::sync::Arc;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tower::Layer;

use crate::config::{MemoryShares, ServeOptions, as_millis};
use crate::pb;
use crate::pb::event_service_server::{EventServiceServer, SERVICE_NAME as EVENT_SERVICE};
use crate::pb::key_service_server::{KeyServiceServer, SERVICE_NAME as KEY_SERVICE};
use crate::pb::run_service_server::{RunServiceServer, SERVICE_NAME as RUN_SERVICE};
use crate::service::Service;
use crate::service::access::{Authenticator, Caller};
use crate::service::live::hub::Hub;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{CommitListener, Latch, SharedStore};
use crate::telemetry;
use crate::transport::boundary::{Boundary, BoundaryOptions};
use crate::transport::connections;
use crate::transport::grpc::{Dispatch, EventHandler, KeyHandler, RunHandler, WireErrors};
use crate::transport::memory::Memory;
use crate::transport::rest::{Gateway, Offer};
use crate::transport::tls::{Certificates, Reload};

use bind::{Bound, bind};
pub use error::StartError;
pub use offline::{InProcessServer, check, importer, migrate, schema};
pub use open_files::raise_open_files;

pub use crate::service::import::{ImportError, Imported, Importer, Imports, Refusal};
pub use crate::store::inspect::{CheckOptions, CheckResult, Schema, Verdict};

/// Bytes of a request message around a payload of the largest size.
const FRAMING_BYTES: usize = 1 << 10;

/// A server with a bound listener and an open store; [`run`](Server::run) serves.
pub struct Server {
    bound: Bound,
    admin: Option<Bound>,
    store: SharedStore,
    service: Service,
    authenticator: Arc<Authenticator>,
    draining: Latch,
    options: ServeOptions,
    memory_shares: MemoryShares,
    tls: Option<(Arc<Certificates>, Reload)>,
}

impl Server {
    /// Checks the options, reads the certificates, binds the address and opens the store.
    pub async fn bind(options: &ServeOptions) -> Result<Self, StartError> {
        options.validate()?;
        // Installed first, so that the parts below count from their beginning.
        telemetry::recorder();
        let memory_shares = options.memory_shares()?;
        let tls = match parts::tls_files(&options.tls) {
            Some(files) => Some(Certificates::open(files).await?),
            None => None,
        };
        let hub = Arc::new(Hub::new(parts::window_limits(options, &memory_shares)));
        let bound = bind("--listen", options.listen.iter()).await?;
        let admin = match &options.admin_listen {
            Some(addresses) => Some(bind("--admin-listen", addresses.iter()).await?),
            None => None,
        };
        let store = open_store(options, hub.clone()).await?;
        let draining = Latch::default();
        let service = Service::new(store.clone(), hub, parts::service_options(options), draining.clone());
        let authenticator = access::open(options, &service, store.clone()).await?;
        // A handler serves the caller of the request, and without one nothing.
        let service = service.for_caller(Caller::unauthenticated());
        let options = options.clone();
        Ok(Self { bound, admin, store, service, authenticator, draining, options, memory_shares, tls })
    }

    /// The first bound address, with the port that the system chose for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.bound.address()
    }

    /// The first bound address of the admin listener, if `--admin-listen` is set.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Bound::address)
    }

    /// Serves until `shutdown`, then drains: health says NOT_SERVING, subscriptions end with UNAVAILABLE and a cursor to
    /// resume from, publishes under way finish. Calls that go on after the drain timeout are cut. Returns when the store is
    /// closed; every acknowledged event is stored.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StartError> {
        let (health, health_service) = tonic_health::server::health_reporter();
        health::set(&health, ServingStatus::Serving).await;
        let offer = if self.admin.is_some() { Offer::Events } else { Offer::All };
        let routes = self.routes(health_service.clone(), offer);
        let upkeep = tokio::spawn(telemetry::upkeep());
        let memory = Memory::new(parts::memory_options(&self.options, &self.memory_shares));
        let watch = tokio::spawn(Arc::clone(&memory).watch(self.service.clone(), self.memory_shares.named().to_vec()));
        let keys = access::Watch::begin(&self.authenticator);
        let scrub = tokio::spawn(scrub::run(self.store.clone(), self.options.reading.scrub_bytes_per_second));
        let (certificates, reload) = self.tls.take().unzip();
        let reload = reload.map(|reload| tokio::spawn(reload.run()));
        let admin = self.admin.take();
        let admin =
            admin.map(|bound| self.serve_admin(bound, health_service, Arc::clone(&memory), certificates.clone()));
        let (address, others) = (self.bound.address(), self.bound.others().to_vec());
        let (draining, cut) = (self.draining.clone(), CancellationToken::new());
        let events = Dispatch::layer(self.events(), EVENT_SERVICE);
        let server = parts::transport(&self.options, &self.memory_shares)
            .layer(Boundary::layer(self.boundary(self.bound.is_loopback()), Arc::clone(&memory)))
            .layer(access::layer(&self.authenticator, &self.options))
            .layer(events)
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                connections::accept(
                    self.bound.listeners,
                    parts::max_connections(&self.options, &self.memory_shares),
                    memory,
                    cut.clone(),
                    certificates,
                ),
                async move { draining.wait().await },
            );
        let mut serving = tokio::spawn(server);
        tracing::info!(
            max_memory_bytes = self.options.memory_bytes(),
            connections = self.options.connections_in(&self.memory_shares),
            streams_of_connection = self.options.streams_in(&self.memory_shares),
            "memory is shared out"
        );
        let url = format!("{}://{address}", if self.options.tls.is_on() { "https" } else { "http" });
        match &self.options.store.url {
            Some(_) => tracing::info!(%address, url, "serving out of PostgreSQL"),
            None => tracing::info!(%address, url, data = %self.options.store.data.display(), "serving"),
        }
        others.iter().for_each(|other| tracing::info!("serving at {other}, too"));
        if self.options.has_console() {
            tracing::info!("the console is at {url}/");
        }
        let mut has_defect = false;
        let watchdog = tokio::spawn(health::get_on());
        health::notify(NotifyState::Ready);
        let ended = tokio::select! {
            () = shutdown.cancelled() => None,
            ended = &mut serving => Some(ended),
            () = health::follow_store(&health, &self.service) => {
                has_defect = true;
                None
            }
        };
        health::notify(NotifyState::Stopping);
        health::set(&health, ServingStatus::NotServing).await;
        self.draining.set();
        // A `Watch` stream of gRPC health never ends by itself and would hold the drain up to the deadline.
        health::forget(health).await;
        let ended = match ended {
            Some(ended) => Ok(ended),
            None => tokio::time::timeout(self.options.connections.drain_timeout, &mut serving).await,
        };
        let in_time = ended.is_ok();
        let ended = match ended {
            Ok(ended) => ended,
            Err(_) => {
                cut.cancel();
                serving.await
            }
        };
        scrub.abort();
        keys.end().await;
        self.store.close().await;
        if let Some(admin) = admin {
            admin.end().await;
        }
        upkeep.abort();
        watchdog.abort();
        watch.abort();
        reload.inspect(JoinHandle::abort);
        match ended {
            Ok(served) => served?,
            Err(panic) => tracing::error!(%panic, "the server task panicked"),
        }
        if in_time {
            tracing::info!("drained: all calls ended by themselves");
        } else {
            let timeout_ms = as_millis(self.options.connections.drain_timeout);
            tracing::warn!(timeout_ms, "drained: calls that went on were cut");
        }
        if has_defect { Err(StartError::StoreDefect) } else { Ok(()) }
    }

    /// Options of the boundary for a listener; `is_loopback`: only this machine reaches it.
    fn boundary(&self, is_loopback: bool) -> BoundaryOptions {
        BoundaryOptions {
            is_loopback,
            is_tls: self.options.tls.is_on(),
            allowed_hosts: self.options.connections.allowed_hosts.clone(),
            allowed_origins: self.options.connections.cors_origins.clone(),
            grpc_services: GRPC_SERVICES.to_vec(),
            max_message_bytes: self.max_message_bytes(),
            max_page_bytes: 2 * parts::MAX_PAGE_BYTES,
        }
    }

    /// The gRPC service for publishing, listing and subscribing.
    fn events(&self) -> WireErrors<EventServiceServer<EventHandler>> {
        let events = EventServiceServer::new(EventHandler::new(self.service.clone()));
        WireErrors::layer(self.options.connections.request_timeout)
            .layer(events.max_decoding_message_size(self.max_message_bytes()))
    }

    /// The other gRPC services, the JSON gateway and the console, on the same port.
    fn routes(&self, health: HealthServer<impl tonic_health::pb::health_server::Health>, offer: Offer) -> Routes {
        let grpc = self.grpc(health, offer).into_axum_router().reset_fallback();
        let grpc = grpc.layer(WireErrors::layer(self.options.connections.request_timeout));
        let gateway = Gateway::new(self.service.clone(), parts::gateway_options(&self.options), telemetry::recorder());
        let http = http::router(gateway, offer, self.options.has_console());
        Routes::from(grpc.merge(http).fallback(http::unmatched_route))
    }

    fn grpc(&self, health: HealthServer<impl tonic_health::pb::health_server::Health>, offer: Offer) -> Routes {
        const DECODES: &str = "our own descriptors decode";
        let max = self.max_message_bytes();
        let mut routes = Routes::new(health.max_decoding_message_size(max));
        if offer != Offer::Operation {
            let runs = RunServiceServer::new(RunHandler::new(self.service.clone()));
            let keys = KeyServiceServer::new(KeyHandler::new(self.service.clone()));
            routes = routes.add_service(runs.max_decoding_message_size(max));
            routes = routes.add_service(keys.max_decoding_message_size(max));
        }
        if offer != Offer::Events {
            let v1 = reflection().build_v1().unwrap_or_else(|_| unreachable!("{DECODES}"));
            let v1alpha = reflection().build_v1alpha().unwrap_or_else(|_| unreachable!("{DECODES}"));
            routes = routes.add_service(v1.max_decoding_message_size(max));
            routes = routes.add_service(v1alpha.max_decoding_message_size(max));
        }
        routes
    }

    /// Largest message, bytes: `--max-request-bytes` and room for the framing, so that a payload of exactly that size fits.
    fn max_message_bytes(&self) -> usize {
        self.options.limits.max_request_bytes + FRAMING_BYTES
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Names of all gRPC services.
const GRPC_SERVICES: [&str; 6] = [
    EVENT_SERVICE,
    KEY_SERVICE,
    RUN_SERVICE,
    tonic_health::pb::health_server::SERVICE_NAME,
    tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME,
    tonic_reflection::pb::v1alpha::server_reflection_server::SERVICE_NAME,
];

async fn open_store(options: &ServeOptions, listener: Arc<dyn CommitListener>) -> Result<SharedStore, StartError> {
    Ok(match &options.store.url {
        Some(url) => Arc::new(PostgresStore::open(parts::postgres_options(options, url), listener).await?),
        None => Arc::new(SqliteStore::open(parts::sqlite_options(options), listener).await?),
    })
}
