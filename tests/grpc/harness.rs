//! A server in this process and clients that reach it over TCP, with the limits that gRPC clients have by default: no
//! answer may be larger than 4 MiB.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use runlog::config::ServeOptions;
use runlog::pb;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use runlog::server::{Server, StartError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::reading::Reader;

/// How long anything may take before a test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fails a test that waits for what does not come.
pub async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, awaited).await.expect("this takes too long: what the test waits for does not come")
}

/// A running server with a store of its own; dropping it stops it.
pub struct TestServer {
    options: ServeOptions,
    running: Option<Running>,
    _dir: tempfile::TempDir,
}

struct Running {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), StartError>>,
}

impl TestServer {
    /// With the options that an empty command line gives.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// With options changed.
    pub async fn start_with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ServeOptions { listen: "127.0.0.1:0".parse().unwrap(), ..ServeOptions::default() };
        options.store.data = dir.path().join("runlog.db");
        change(&mut options);
        let mut server = Self { options, running: None, _dir: dir };
        server.start_again().await;
        server
    }

    /// Starts a stopped server on its store.
    pub async fn start_again(&mut self) {
        let server = Server::bind(&self.options).await.unwrap();
        let (address, admin, stop) = (server.local_addr(), server.admin_addr(), CancellationToken::new());
        let task = tokio::spawn(server.run(stop.clone()));
        self.running = Some(Running { address, admin, stop, task });
    }

    /// Drains and stops: returns when the store is closed.
    pub async fn stop(&mut self) {
        self.begin_to_drain();
        let running = self.running.take().unwrap();
        in_time(running.task).await.unwrap().unwrap();
    }

    /// Stops, and starts on the same store.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Tells the server to stop, without waiting for it.
    pub fn begin_to_drain(&self) {
        self.running.as_ref().unwrap().stop.cancel();
    }

    /// The options that it was started with.
    pub fn options(&self) -> &ServeOptions {
        &self.options
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// Where those look who run the server.
    pub fn admin_address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().admin.unwrap()
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Channel {
        self.connect_to(self.address()).await
    }

    /// A connection to one of its addresses.
    pub async fn connect_to(&self, address: SocketAddr) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        in_time(endpoint.timeout(PATIENCE).connect()).await.unwrap()
    }

    /// A client of the events, on a connection of its own.
    pub async fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.connect().await)
    }

    /// A client of the runs, on a connection of its own.
    pub async fn runs(&self) -> RunServiceClient<Channel> {
        RunServiceClient::new(self.connect().await)
    }

    /// Publishes; the test needs it to succeed.
    pub async fn publish(&self, run_id: &str, events: Vec<pb::NewEvent>) -> pb::PublishResponse {
        self.try_publish(run_id, events).await.unwrap()
    }

    /// Publishes.
    pub async fn try_publish(&self, run_id: &str, events: Vec<pb::NewEvent>) -> Result<pb::PublishResponse, Status> {
        let request = pb::PublishRequest { run_id: run_id.to_owned(), events, expected_last_seq: None };
        Ok(self.events().await.publish(request).await?.into_inner())
    }

    /// One page.
    pub async fn list(&self, request: pb::ListEventsRequest) -> Result<pb::ListEventsResponse, Status> {
        Ok(self.events().await.list_events(request).await?.into_inner())
    }

    /// Begins a subscription; the test needs it to succeed.
    pub async fn subscribe(&self, request: pb::SubscribeRequest) -> Reader {
        self.try_subscribe(request).await.unwrap()
    }

    /// Begins a subscription.
    pub async fn try_subscribe(&self, request: pb::SubscribeRequest) -> Result<Reader, Status> {
        Ok(Reader::new(self.events().await.subscribe(request).await?.into_inner()))
    }

    /// What the events of a run add up to.
    pub async fn run(&self, run_id: &str) -> pb::Run {
        let request = pb::GetRunRequest { run_id: run_id.to_owned() };
        self.runs().await.get_run(request).await.unwrap().into_inner().run.unwrap()
    }

    /// Every event of the store in commit order, as JSON and in full.
    pub async fn everything(&self) -> Vec<pb::Event> {
        let page_size = i32::try_from(self.options.limits.max_page_size).unwrap();
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let request = pb::ListEventsRequest { cursor, page_size, ..crate::reading::list_all_runs() };
            let page = self.list(request).await.unwrap();
            all.extend(page.events);
            if !page.has_more {
                return all;
            }
            cursor = page.next_cursor;
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.stop.cancel();
        }
    }
}
