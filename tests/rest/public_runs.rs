//! The public runs API.

mod control;
mod create;
mod description;
mod feed;
mod filters;
mod golden;
mod publish;
mod reading;
mod redaction;
mod refusals;
mod retries;
mod stream;

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{self, Gateway};

/// A run on its own server.
struct Run {
    gateway: Gateway,
    id: String,
}

impl Run {
    /// Created over this API; its only event is `run.created`.
    async fn create() -> Self {
        let gateway = Gateway::start().await;
        let (status, run) = gateway.post("/v1/runs", "{}").await;
        assert_eq!(status, 201, "{run}");
        Self { gateway, id: text(&run["id"]) }
    }

    /// Created, with these events; the first has seq 2.
    async fn with(events: Value) -> Self {
        let run = Self::create().await;
        run.publish(events).await;
        run
    }

    /// A run that awaits an answer.
    async fn waiting() -> Self {
        let question = json!({"reason_code": "AWAITING_APPROVAL", "input_kind": "approval"});
        Self::with(json!({"type": "run.awaiting_input", "payload": question})).await
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/runs/{}{rest}", self.id)
    }

    async fn get(&self, rest: &str) -> (u16, Value) {
        self.gateway.get(&self.path(rest)).await
    }

    async fn post(&self, rest: &str, body: &str) -> (u16, Value) {
        self.gateway.post(&self.path(rest), body).await
    }

    /// POSTs under an idempotency key.
    async fn post_keyed(&self, rest: &str, key: &str, body: &str) -> (u16, Value) {
        harness::json(self.send(Method::POST, rest, ("idempotency-key", key), body).await).await
    }

    /// Sends a request with a header.
    async fn send(&self, method: Method, rest: &str, header: (&str, &str), body: &str) -> Response {
        let request = self.gateway.client.request(method, self.gateway.url(&self.path(rest)));
        request.header(header.0, header.1).body(body.to_owned()).send().await.unwrap()
    }

    async fn publish(&self, events: Value) -> Value {
        let (status, published) = self.post("/events", &events.to_string()).await;
        assert_eq!(status, 201, "{published}");
        published
    }

    /// All events with all members.
    async fn events(&self) -> Vec<Value> {
        let (status, page) = self.get("/events?limit=1000&view=full").await;
        assert_eq!((status, &page["has_more"]), (200, &json!(false)), "{page}");
        page["events"].as_array().unwrap().clone()
    }

    /// The types of its events, in order.
    async fn types(&self) -> Vec<String> {
        self.events().await.iter().map(|event| text(&event["type"])).collect()
    }

    async fn status(&self) -> String {
        text(&self.get("").await.1["status"])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Events of one type, numbered in their payloads.
fn numbered(event_type: &str, count: usize) -> Value {
    (1..=count).map(|n| json!({"type": event_type, "payload": {"n": n}})).collect()
}
