//! HTTP and gRPC clients of a server in this process.

use std::path::Path;

use reqwest::{Method, RequestBuilder, Response};
use runlog::config::ServeOptions;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use serde_json::Value;
use tonic::transport::Channel;

use crate::server::{DATA, TestServer};
use crate::stored_events;

/// A server and its clients.
pub struct Gateway {
    /// An HTTP/1.1 client.
    pub client: reqwest::Client,
    server: TestServer,
}

impl Gateway {
    /// With the default options.
    pub async fn start() -> Self {
        Self::of(TestServer::start().await)
    }

    /// With other options.
    pub async fn start_with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        Self::of(TestServer::start_with(change).await)
    }

    /// On a file with these events; see [`stored_events::write`].
    pub async fn start_on(events: &[(&str, &str, &str, &str)]) -> Self {
        Self::start_on_changed(events, "").await
    }

    /// With these events, after this SQL has changed the file.
    pub async fn start_on_changed(events: &[(&str, &str, &str, &str)], sql: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        stored_events::write(&directory.path().join(DATA), events, sql).await;
        Self::of(TestServer::start_in(directory, |_| {}).await)
    }

    fn of(server: TestServer) -> Self {
        Self { client: reqwest::Client::new(), server }
    }

    /// Drains, and starts again on the same file.
    pub async fn restart(mut self) -> Self {
        self.server.restart().await;
        Self::of(self.server)
    }

    /// The database file.
    pub fn data(&self) -> &Path {
        &self.server.options().store.data
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    /// Sends a request with a body of JSON text.
    pub async fn send(&self, method: Method, path: &str, body: Option<&str>) -> Response {
        let request = self.client.request(method, self.url(path));
        let with_body = |request: RequestBuilder, body: &str| {
            request.header("content-type", "application/json").body(body.to_owned())
        };
        match body {
            Some(body) => with_body(request, body).send().await.unwrap(),
            None => request.send().await.unwrap(),
        }
    }

    /// GETs JSON: status and body (null for an empty body).
    pub async fn get(&self, path: &str) -> (u16, Value) {
        json(self.send(Method::GET, path, None).await).await
    }

    /// POSTs JSON text: status and body (null for an empty body).
    pub async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        json(self.send(Method::POST, path, Some(body)).await).await
    }

    /// The status and the text of an event stream, read to its end.
    pub async fn stream(&self, path: &str) -> (u16, String) {
        let response = self.send(Method::GET, path, None).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// A gRPC client of `EventService`.
    pub async fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::connect(self.url("")).await.unwrap()
    }

    /// A gRPC client of `RunService`.
    pub async fn runs(&self) -> RunServiceClient<Channel> {
        RunServiceClient::connect(self.url("")).await.unwrap()
    }
}

/// The text of a body, of JSON without the line break that ends it.
pub async fn json_text(response: Response) -> String {
    let is_json = response.headers().get("content-type").is_some_and(|of| of == "application/json");
    let text = response.text().await.unwrap();
    if !is_json {
        return text;
    }
    let line = text.strip_suffix('\n').unwrap_or_else(|| panic!("no line break ends {text:?}"));
    assert!(!line.ends_with('\n'), "{text:?}");
    line.to_owned()
}

/// Status and JSON body.
pub async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = json_text(response).await;
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    (status, body)
}
