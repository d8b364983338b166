//! Clients over TCP of a server in this process, with the default limits of gRPC clients: a response has at most 4 MiB.

use std::net::SocketAddr;

use runlog::pb;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::reading::Reader;
use crate::server::TIMEOUT;
pub use crate::server::{TestServer, in_time};

impl TestServer {
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
        let page_size = i32::try_from(self.options().limits.max_page_size).unwrap();
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
