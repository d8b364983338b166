//! A server in this process and clients over TCP, with the default limits of gRPC clients: a response has at most 4
//! MiB.

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

/// The timeout of any operation, so that a test fails instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Awaits with the timeout.
pub async fn in_time<T>(awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, awaited).await.expect("this takes too long: what the test waits for does not come")
}

/// A running server with its own store; dropping stops the server.
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
    /// Starts with the default options.
    pub async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// Starts with changed options.
    pub async fn start_with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = ServeOptions { listen: "127.0.0.1:0".parse().unwrap(), ..ServeOptions::default() };
        options.store.data = dir.path().join("runlog.db");
        change(&mut options);
        let mut server = Self { options, running: None, _dir: dir };
        server.start_again().await;
        server
    }

    /// Starts a stopped server on the same store.
    pub async fn start_again(&mut self) {
        let server = Server::bind(&self.options).await.unwrap();
        let (address, admin, stop) = (server.local_addr(), server.admin_addr(), CancellationToken::new());
        let task = tokio::spawn(server.run(stop.clone()));
        self.running = Some(Running { address, admin, stop, task });
    }

    /// Drains and stops; returns after the store is closed.
    pub async fn stop(&mut self) {
        self.begin_to_drain();
        let running = self.running.take().unwrap();
        in_time(running.task).await.unwrap().unwrap();
    }

    /// Stops the server and starts a new server on the same store.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Begins the drain without waiting for its end.
    pub fn begin_to_drain(&self) {
        self.running.as_ref().unwrap().stop.cancel();
    }

    /// The options of the server.
    pub fn options(&self) -> &ServeOptions {
        &self.options
    }

    /// The address for clients.
    pub fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().address
    }

    /// The address for operators.
    pub fn admin_address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().admin.unwrap()
    }

    /// A new connection.
    pub async fn connect(&self) -> Channel {
        self.connect_to(self.address()).await
    }

    /// A new connection to one of the server's addresses.
    pub async fn connect_to(&self, address: SocketAddr) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        in_time(endpoint.timeout(TIMEOUT).connect()).await.unwrap()
    }

    /// A client of `EventService` on a new connection.
    pub async fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.connect().await)
    }

    /// A client of `RunService` on a new connection.
    pub async fn runs(&self) -> RunServiceClient<Channel> {
        RunServiceClient::new(self.connect().await)
    }

    /// Publishes; an error fails the test.
    pub async fn publish(&self, run_id: &str, events: Vec<pb::NewEvent>) -> pb::PublishResponse {
        self.try_publish(run_id, events).await.unwrap()
    }

    /// Publishes and returns the result.
    pub async fn try_publish(&self, run_id: &str, events: Vec<pb::NewEvent>) -> Result<pb::PublishResponse, Status> {
        let request = pb::PublishRequest { run_id: run_id.to_owned(), events, expected_last_seq: None };
        Ok(self.events().await.publish(request).await?.into_inner())
    }

    /// Lists one page.
    pub async fn list(&self, request: pb::ListEventsRequest) -> Result<pb::ListEventsResponse, Status> {
        Ok(self.events().await.list_events(request).await?.into_inner())
    }

    /// Subscribes; an error fails the test.
    pub async fn subscribe(&self, request: pb::SubscribeRequest) -> Reader {
        self.try_subscribe(request).await.unwrap()
    }

    /// Subscribes and returns the result.
    pub async fn try_subscribe(&self, request: pb::SubscribeRequest) -> Result<Reader, Status> {
        Ok(Reader::new(self.events().await.subscribe(request).await?.into_inner()))
    }

    /// The run's row.
    pub async fn run(&self, run_id: &str) -> pb::Run {
        let request = pb::GetRunRequest { run_id: run_id.to_owned() };
        self.runs().await.get_run(request).await.unwrap().into_inner().run.unwrap()
    }

    /// Every event of the store in commit order, as JSON and in the full view.
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
