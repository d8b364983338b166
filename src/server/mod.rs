//! The composition root: opens the store, wires the parts, binds the address, serves, drains.

mod access;
mod admin;
pub mod backup;
mod bind;
mod compaction;
mod error;
mod health;
mod http;
mod offline;
mod open_files;
mod pace;
mod parts;
mod retention;
mod routes;
mod scrub;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;

use crate::config::{MemoryShares, ServeOptions, as_millis};
use crate::pb::event_service_server::SERVICE_NAME as EVENT_SERVICE;
use crate::service::Service;
use crate::service::access::{Authenticator, Caller};
use crate::service::live::hub::Hub;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{CommitListener, Latch, SharedStore};
use crate::telemetry;
use crate::transport::boundary::Boundary;
use crate::transport::grpc::Dispatch;
use crate::transport::memory::Memory;
use crate::transport::rest::Offer;
use crate::transport::tls::{Certificates, Reload};
use crate::transport::{connections, drain};

use bind::{Bound, bind};
pub use error::StartError;
pub use offline::{InProcessServer, check, importer, migrate, schema};
pub use open_files::raise_open_files;

pub use crate::service::import::{FirstOfRuns, ImportError, Imported, Importer, Imports, Refusal};
pub use crate::store::inspect::{CheckOptions, CheckResult, Schema, Verdict};

/// Longest time in which calls end before connections are announced to end.
const MAX_SETTLE: Duration = Duration::from_secs(1);

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
        let retention = tokio::spawn(retention::run(self.store.clone(), self.options.keeping.clone()));
        let keeping = &self.options.keeping;
        let compaction =
            tokio::spawn(compaction::run(self.store.clone(), keeping.compact_deltas_after, keeping.retain_interval));
        let (certificates, reload) = self.tls.take().unzip();
        let reload = reload.map(|reload| tokio::spawn(reload.run()));
        let admin = self.admin.take();
        let admin =
            admin.map(|bound| self.serve_admin(bound, health_service, Arc::clone(&memory), certificates.clone()));
        let (address, others) = (self.bound.address(), self.bound.others().to_vec());
        let (draining, cut) = (self.draining.clone(), CancellationToken::new());
        // Half of the drain is left to calls that do not end by themselves.
        let settles = MAX_SETTLE.min(self.options.connections.drain_timeout / 2);
        let drained = async move { draining.wait().await };
        let events = Dispatch::layer(self.events(), EVENT_SERVICE);
        let server = parts::transport(&self.options, &self.memory_shares)
            .layer(Boundary::layer(self.boundary(self.bound.is_loopback()), Arc::clone(&memory)))
            .layer(self.web(Arc::clone(&memory)))
            .layer(access::layer(&self.authenticator, &self.options))
            .layer(events)
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                drain::until_drained(
                    connections::accept(
                        self.bound.listeners,
                        parts::max_connections(&self.options, &self.memory_shares),
                        Arc::clone(&memory),
                        cut.clone(),
                        certificates,
                    ),
                    drained,
                    memory,
                    settles,
                ),
                // With a signal, and be it none, connections end gracefully once no more are accepted.
                std::future::pending(),
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
        retention.abort();
        compaction.abort();
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
}

async fn open_store(options: &ServeOptions, listener: Arc<dyn CommitListener>) -> Result<SharedStore, StartError> {
    Ok(match &options.store.url {
        Some(url) => Arc::new(PostgresStore::open(parts::postgres_options(options, url), listener).await?),
        None => Arc::new(SqliteStore::open(parts::sqlite_options(options), listener).await?),
    })
}
