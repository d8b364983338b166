//! A server that asks for keys, and clients that send them.

use runlog::config::{KeyText, ServeOptions};
use runlog::domain::KeyScope;
use runlog::pb;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::key_service_client::KeyServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use serde_json::Value;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use crate::server::{TIMEOUT, TestServer, in_time};

/// The first key of every server here.
pub const ADMIN: &str = "key_admin:0123456789abcdefghijklmnop";

/// Sends a key with each call.
#[derive(Clone)]
pub struct WithKey(Option<String>);

impl Interceptor for WithKey {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            let header = MetadataValue::try_from(format!("Bearer {key}")).unwrap();
            request.metadata_mut().insert("authorization", header);
        }
        Ok(request)
    }
}

/// Calls with a key.
pub type Calls = InterceptedService<Channel, WithKey>;

/// Starts a server with the first key.
pub async fn with_keys() -> TestServer {
    with_keys_and(|_| ()).await
}

/// Starts a server with the first key and other options.
pub async fn with_keys_and(change: impl FnOnce(&mut ServeOptions)) -> TestServer {
    TestServer::start_with(|options| {
        options.access.admin_key = Some(KeyText::from(ADMIN.to_owned()));
        change(options);
    })
    .await
}

impl TestServer {
    /// A new connection whose calls carry this key.
    pub async fn calls(&self, key: Option<&str>) -> Calls {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address())).unwrap();
        let channel = in_time(endpoint.timeout(TIMEOUT).connect()).await.unwrap();
        InterceptedService::new(channel, WithKey(key.map(ToOwned::to_owned)))
    }

    pub async fn events(&self, key: &str) -> EventServiceClient<Calls> {
        EventServiceClient::new(self.calls(Some(key)).await)
    }

    pub async fn runs(&self, key: &str) -> RunServiceClient<Calls> {
        RunServiceClient::new(self.calls(Some(key)).await)
    }

    pub async fn keys(&self, key: &str) -> KeyServiceClient<Calls> {
        KeyServiceClient::new(self.calls(Some(key)).await)
    }

    /// Creates a key with these scopes; returns its id and its text.
    pub async fn key(&self, scopes: &[KeyScope]) -> (String, String) {
        let created = self.keys(ADMIN).await.create_key(create(scopes)).await.unwrap().into_inner();
        (created.key.unwrap().key_id, created.secret_key)
    }

    /// A stream token for this run.
    pub async fn stream_token(&self, key: Option<&str>, run_id: &str) -> String {
        let issued = self.rest("POST", &format!("/v1/runs/{run_id}/stream-token"), key, None).await;
        assert_eq!(issued.status, 201, "{issued:?}");
        let issued: Value = serde_json::from_str(&issued.body).unwrap();
        issued["token"].as_str().unwrap().to_owned()
    }

    /// The status, the reason and the body of a REST request with a key.
    pub async fn rest(&self, method: &str, path: &str, key: Option<&str>, body: Option<&str>) -> Answer {
        let url = format!("http://{}{path}", self.address());
        let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_owned());
        }
        let answer = in_time(request.send()).await.unwrap();
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        // The stream of all runs has no end.
        let is_endless = status == 200 && path.starts_with("/v1/events/stream");
        let body = if is_endless { String::new() } else { in_time(answer.text()).await.unwrap() };
        Answer { status, challenge, body }
    }
}

/// An answer of a REST API.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub challenge: Option<String>,
    pub body: String,
}

impl Answer {
    /// Whether the body names this reason, in whichever shape and case its API has.
    pub fn names(&self, reason: &str) -> bool {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body.to_string().to_ascii_uppercase().contains(reason)
    }
}

/// A request to create a key.
pub fn create(scopes: &[KeyScope]) -> pb::CreateKeyRequest {
    let scopes = scopes.iter().map(KeyScope::to_string).collect();
    pb::CreateKeyRequest { name: "test".to_owned(), scopes, ..Default::default() }
}

/// The reason of a gRPC status.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// A publish of one event of this type.
pub fn publish(run_id: &str, event_type: &str) -> pb::PublishRequest {
    let event = pb::NewEvent {
        r#type: event_type.to_owned(),
        payload: Some(json(r#"{"input":"private"}"#)),
        ..Default::default()
    };
    pb::PublishRequest { run_id: run_id.to_owned(), events: vec![event], expected_last_seq: None }
}

pub fn json(text: &str) -> pb::Payload {
    pb::Payload { variant: Some(pb::payload::Variant::Json(text.to_owned())), ..Default::default() }
}

/// Waits until the condition holds.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(TIMEOUT, wait).await.is_ok(), "this does not come: {what}");
}
