//! The real server, and HTTP and gRPC clients for it.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response};
use runlog::config::ServeOptions;
use runlog::domain::{EventId, EventType, Limits, NewEvent, Origin, Payload, RunId};
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use runlog::server::Server;
use runlog::service::live::hub::{Hub, WindowLimits};
use runlog::store::sqlite::{SqliteOptions, SqliteStore};
use runlog::store::{Append, Store};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// A server on a file in a temporary directory.
pub struct Gateway {
    /// An HTTP/1.1 client.
    pub client: reqwest::Client,
    address: String,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), runlog::server::StartError>>,
    directory: TempDir,
}

impl Gateway {
    /// With the default options.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With other options.
    pub async fn start_with(change: impl FnOnce(&mut ServeOptions)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    /// On a file with these events, with any ids, as an earlier version or an import may have stored. Each is a run, a
    /// type, an id and a payload.
    pub async fn start_on(events: &[(&str, &str, &str, &str)]) -> Self {
        Self::start_on_changed(events, "").await
    }

    /// With these events, after this SQL has changed the file.
    pub async fn start_on_changed(events: &[(&str, &str, &str, &str)], sql: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(directory.path().join("runlog.db"));
        let store = SqliteStore::open(options, Arc::new(Hub::new(WindowLimits::default()))).await.unwrap();
        for (run, event_type, id, payload) in events {
            let event_type = EventType::parse(event_type).unwrap();
            let event = NewEvent {
                event_id: Some(EventId::parse(id).unwrap()),
                origin: Origin::default_for(&event_type),
                payload: Payload::parse(&event_type, *payload, &Limits::default()).unwrap(),
                event_type,
                occurred_at: None,
                sent_seconds: None,
                agent_name: None,
            };
            let run_id = RunId::parse(run).unwrap();
            let (condition, agent_name, structure_id, recorded) = (None, None, None, None);
            let events = vec![event];
            store.append(Append { run_id, events, condition, agent_name, structure_id, recorded }).await.unwrap();
        }
        store.close().await;
        drop(store);
        let file = format!("sqlite:{}", directory.path().join("runlog.db").display());
        let mut connection = SqliteConnection::connect(&file).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Self::start_in(directory, |_| {}).await
    }

    async fn start_in(directory: TempDir, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let mut options = ServeOptions::default();
        options.listen.set_port(0);
        options.store.data = directory.path().join("runlog.db");
        change(&mut options);
        let server = Server::bind(&options).await.unwrap();
        let (address, stop) = (server.local_addr().to_string(), CancellationToken::new());
        let serving = tokio::spawn(server.run(stop.clone()));
        Self { client: reqwest::Client::new(), address, stop, serving, directory }
    }

    /// Drains, and starts again on the same file.
    pub async fn restart(self) -> Self {
        self.stop.cancel();
        self.serving.await.unwrap().unwrap();
        Self::start_in(self.directory, |_| {}).await
    }

    /// The database file.
    pub fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("runlog.db")
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
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

/// Status and JSON body.
pub async fn json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    (status, body)
}
