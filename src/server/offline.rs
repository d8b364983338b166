//! Work on a store without a server: checks, migrations, export and import.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;

use jiff::Timestamp;
use tonic::service::Routes;

use super::bind::is_missing;
use super::parts::{postgres_options, service_options, tls_files};
use super::{StartError, open_files, open_store};
use crate::config::{ListenAddresses, ServeOptions, StoreOptions};
use crate::domain::ProjectId;
use crate::pb::event_service_server::EventServiceServer;
use crate::pb::key_service_server::KeyServiceServer;
use crate::pb::run_service_server::RunServiceServer;
use crate::service::Service;
use crate::service::access::{Caller, Project};
use crate::service::import::Importer;
use crate::service::live::hub::{Hub, WindowLimits};
use crate::store::inspect::{CheckOptions, CheckResult, Schema};
use crate::store::{Commit, CommitListener, Latch, SharedStore, postgres, sqlite};
use crate::transport::grpc::{EventHandler, KeyHandler, RunHandler};

/// A store opened in this process, behind the gRPC services of a server but without a listening address.
pub struct InProcessServer {
    store: SharedStore,
    routes: Routes,
}

impl InProcessServer {
    /// Opens the store with the default options of `runlog serve`, for calls in this project.
    pub async fn open(store: &StoreOptions, project: &ProjectId) -> Result<Self, StartError> {
        let options = options_of(store)?;
        let hub = Arc::new(Hub::new(WindowLimits { bytes: options.reading.hub_window_bytes, ..Default::default() }));
        let store = open_store(&options, hub.clone()).await?;
        let Some(number) = store.project(project).await? else {
            store.close().await;
            return Err(StartError::UnknownProject { project: project.to_string() });
        };
        let caller = Caller::local_in(Project { id: project.clone(), number });
        let service = Service::new(store.clone(), hub, service_options(&options), Latch::default());
        let service = service.for_caller(caller);
        let events = EventServiceServer::new(EventHandler::new(service.clone()));
        let runs = RunServiceServer::new(RunHandler::new(service.clone()));
        let keys = KeyServiceServer::new(KeyHandler::new(service));
        let routes = Routes::new(events).add_service(runs).add_service(keys).prepare();
        Ok(Self { store, routes })
    }

    /// The gRPC services, to call without a network.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Closes the store and releases its lock.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Ignores commits: an offline import has no subscribers.
pub(super) struct NoSubscribers;

impl CommitListener for NoSubscribers {
    fn committed(&self, _: Commit) {}
}

/// Opens the store for an import into a project; creates a missing store and a missing project.
pub async fn importer(store: &StoreOptions, project: &ProjectId) -> Result<Importer, StartError> {
    let store = open_store(&options_of(store)?, Arc::new(NoSubscribers)).await?;
    let number = store.create_project(project).await?;
    Ok(Importer::new(store.in_project(number)))
}

/// Migrates the schema of the store to the version of this program. Returns the schema before the migration.
pub async fn migrate(store: &StoreOptions) -> Result<Schema, StartError> {
    let options = options_of(store)?;
    Ok(match &store.url {
        Some(url) => postgres::inspect::migrate(&postgres_options(&options, url)).await?,
        None => sqlite::inspect::migrate(&store.data).await?,
    })
}

/// Versions of the schema: found in the store, and known to this program. Changes nothing.
pub async fn schema(store: &StoreOptions) -> Result<Schema, StartError> {
    let options = options_of(store)?;
    Ok(match &store.url {
        Some(url) => postgres::inspect::schema(&postgres_options(&options, url)).await?,
        None => sqlite::inspect::schema(&store.data).await?,
    })
}

/// Checks options, addresses, certificates, memory, open files and store for a server with these options. Changes nothing.
pub async fn check(options: &ServeOptions, look: CheckOptions) -> Vec<CheckResult> {
    let mut findings = vec![configuration(options), listen("listen", &options.listen)];
    findings.extend(options.admin_listen.as_ref().map(|addresses| listen("admin-listen", addresses)));
    findings.extend(tls(options).await);
    findings.extend(memory(options));
    findings.push(open_files::check(options));
    findings.extend(match &options.store.url {
        Some(url) => postgres::inspect::look(&postgres_options(options, url), look).await,
        None => sqlite::inspect::look(&options.store.data, look).await,
    });
    findings
}

fn options_of(store: &StoreOptions) -> Result<ServeOptions, StartError> {
    let options = ServeOptions { store: store.clone(), ..ServeOptions::default() };
    options.validate()?;
    Ok(options)
}

fn configuration(options: &ServeOptions) -> CheckResult {
    const NAME: &str = "configuration";
    match options.validate() {
        Err(problem) => CheckResult::failed(NAME, problem),
        Ok(()) if options.access.insecure_no_auth && !options.is_loopback() => CheckResult::warning(
            NAME,
            "--insecure-no-auth: as long as the store has no key, any client that reaches the address can read and write every \
             run",
        ),
        Ok(()) => CheckResult::ok(NAME, "the options are valid and go together"),
    }
}

/// Binds the addresses and releases them at once. Of several, some may be no addresses of this machine.
fn listen(name: &'static str, addresses: &ListenAddresses) -> CheckResult {
    let (mut free, mut missing) = (Vec::new(), None);
    for address in addresses.iter() {
        match TcpListener::bind(address) {
            Ok(_) => free.push(address.to_string()),
            Err(e) if e.kind() == ErrorKind::AddrInUse => {
                let problem = "a process listens there now; a second one would be refused";
                return CheckResult::warning(name, format!("{address}: {problem}"));
            }
            Err(e) if is_missing(address, &e) => missing = Some(format!("{address}: {e}")),
            Err(e) => return CheckResult::failed(name, format!("{address}: {e}")),
        }
    }
    match missing {
        Some(problem) if free.is_empty() => CheckResult::failed(name, problem),
        _ if free.len() == 1 => CheckResult::ok(name, format!("{} is free", free[0])),
        _ => CheckResult::ok(name, format!("{} are free", free.join(" and "))),
    }
}

/// Whether the files of TLS can be used; `None` without TLS.
async fn tls(options: &ServeOptions) -> Option<CheckResult> {
    const NAME: &str = "tls";
    Some(match tls_files(&options.tls)?.check().await {
        Err(problem) => CheckResult::failed(NAME, problem),
        Ok(None) => CheckResult::ok(NAME, "the key is that of the certificate"),
        Ok(Some(end)) if end < Timestamp::now() => {
            CheckResult::warning(NAME, format!("the certificate expired at {end}"))
        }
        Ok(Some(end)) => {
            CheckResult::ok(NAME, format!("the key is that of the certificate, which is valid until {end}"))
        }
    })
}

/// The shares of the memory; `None` if the options contradict each other.
fn memory(options: &ServeOptions) -> Option<CheckResult> {
    const MIB: usize = 1 << 20;
    let shares = options.memory_shares().ok()?;
    let parts: Vec<String> = shares.named().iter().map(|(part, bytes)| format!("{part} {} MiB", bytes / MIB)).collect();
    let text = format!("{} MiB: {}", options.memory_bytes() / MIB, parts.join(", "));
    let most = options.connections_in(&shares);
    Some(match most < options.connections.max_connections {
        true => CheckResult::ok("memory", format!("{text}; at most {most} connections of --max-connections fit in")),
        false => CheckResult::ok("memory", text),
    })
}
