//! gRPC calls to a server, or to a store opened in this process. Both answer the same calls.

use std::path::PathBuf;

use clap::Args;
use tonic::body::Body;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use super::client::ClientArgs;
use super::commands::migrate::cannot_open;
use super::outcome::{Exit, Failure};
use crate::config::{ServeOptions, StoreOptions, StoreUrl};
use crate::domain::ProjectId;
use crate::server::InProcessServer;

/// Error of a connection.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The calls of a client, without the type of the connection.
pub type Calls = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Error>;

/// The options of commands that ask a server or open a store in its place.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Open this SQLite file in place of asking a server; no server may have it
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    data: Option<PathBuf>,
    /// Open this PostgreSQL database in place of asking a server; servers may have it. A password may come from PGPASSWORD
    #[arg(long, value_name = "URL")]
    store: Option<StoreUrl>,
}

impl PlaceArgs {
    /// The store to open; `None`: ask a server.
    pub fn store(&self) -> Option<StoreOptions> {
        let defaults = ServeOptions::default().store;
        let (data, url) = (self.data.clone(), self.store.clone());
        (data.is_some() || url.is_some()).then(|| StoreOptions { data: data.unwrap_or_default(), url, ..defaults })
    }
}

/// A server or an opened store.
pub struct Callee {
    /// Calls to it.
    pub calls: Calls,
    local: Option<InProcessServer>,
}

impl Callee {
    /// Connects to a server.
    pub async fn server(client: &ClientArgs) -> Result<Self, Failure> {
        Ok(Self { calls: Calls::new(client.connect().await?.map_err(Error::from)), local: None })
    }

    /// Opens an existing store of this version, for calls in this project: a SQLite file without a server, or a PostgreSQL database.
    pub async fn store(store: &StoreOptions, project: &ProjectId) -> Result<Self, Failure> {
        let schema = crate::server::schema(store).await.map_err(cannot_open)?;
        if schema.found == 0 {
            return Err(Failure::new(Exit::NotFound, "there is no store; --data or --store names another"));
        }
        if !schema.pending.is_empty() {
            return Err(Failure::new(Exit::Config, "the schema is older than this program").hint("`runlog migrate`"));
        }
        Self::opened(store, project).await
    }

    /// Opens a store; creates or migrates it where needed.
    pub async fn new_store(store: &StoreOptions) -> Result<Self, Failure> {
        Self::opened(store, &ProjectId::default()).await
    }

    async fn opened(store: &StoreOptions, project: &ProjectId) -> Result<Self, Failure> {
        let local = InProcessServer::open(store, project).await.map_err(cannot_open)?;
        let calls = Calls::new(ServiceExt::<http::Request<Body>>::map_err(local.routes(), Error::from));
        Ok(Self { calls, local: Some(local) })
    }

    /// Closes the store, if opened here.
    pub async fn close(self) {
        if let Some(local) = self.local {
            local.close().await;
        }
    }
}
