//! A run written through one API can be read through every other. Only the envelope is translated; type and payload
//! stay byte for byte as sent.

use runlog::pb;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::harness::Gateway;

const APIS: [Api; 4] = [Api::StructureRuns, Api::AgentSdk, Api::PublicRuns, Api::Grpc];

/// Types of all three references and of none, with payloads that a careless translation would change. The agent SDK API
/// takes only objects; the last event ends the run.
const EVENTS: [(&str, &str); 7] = [
    ("StructureRunRunning", r#"{"status":"RUNNING"}"#),
    ("step", r#"{ "node" : "plan","index":1.0, "node_name":null }"#),
    ("tool_call", r#"{"tool_name":"t","input_preview":"\u00e9 and é","latency_ms":12345678901234567890123}"#),
    ("step.progress", r#"{"kind":"content_delta","content_delta":"a\nb\u2028c"}"#),
    ("my.own/type é", r#"{"z":1,"a":{"input":{"deep":[1e999,-0.0,{}]}},"z":2}"#),
    ("CustomEvent", "{}"),
    ("run.worker.succeeded", r#"{"from_status":"running","to_status":"succeeded","reason_code":null}"#),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Api {
    StructureRuns,
    AgentSdk,
    PublicRuns,
    Grpc,
}

/// Type and payload of an event, in any envelope.
#[derive(Deserialize)]
struct Read {
    #[serde(alias = "event_type")]
    r#type: String,
    payload: Box<RawValue>,
}

#[derive(Deserialize)]
struct Page {
    events: Vec<Read>,
}

/// A payload of the public runs API.
#[derive(Deserialize)]
struct Shown {
    redacted: bool,
    value: Box<RawValue>,
}

impl Api {
    /// Creates a run and publishes the events; returns the run's id. Creation may add an event of the API's own before
    /// them.
    async fn write(self, gateway: &Gateway) -> String {
        let id = self.create(gateway).await;
        for (event_type, payload) in EVENTS {
            let name = Value::from(event_type);
            let (path, body) = match self {
                Self::StructureRuns => (
                    format!("/api/structure-runs/{id}/events"),
                    format!(r#"{{"type":{name},"timestamp":1726096542.5,"payload":{payload}}}"#),
                ),
                Self::AgentSdk => (
                    "/api/ingest".to_owned(),
                    format!(r#"{{"event_type":{name},"sdk_run_id":"{id}","payload":{payload}}}"#),
                ),
                Self::PublicRuns => {
                    (format!("/v1/runs/{id}/events"), format!(r#"{{"type":{name},"payload":{payload}}}"#))
                }
                Self::Grpc => {
                    publish(gateway, &id, event_type, payload).await;
                    continue;
                }
            };
            let (status, answer) = gateway.post(&path, &body).await;
            assert!(matches!(status, 201 | 202), "{self:?} {event_type}: {status} {answer}");
        }
        id
    }

    async fn create(self, gateway: &Gateway) -> String {
        let created = match self {
            Self::StructureRuns => gateway.post("/api/structures/s/runs", r#"{"args":[],"env_vars":[]}"#).await,
            Self::PublicRuns => gateway.post("/v1/runs", "{}").await,
            Self::AgentSdk => return "agent-run".to_owned(),
            Self::Grpc => return "grpc-run".to_owned(),
        };
        assert_eq!(created.0, 201, "{created:?}");
        let id = created.1.get("id").or(created.1.get("structure_run_id")).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("{created:?} has an id")).to_owned()
    }

    /// The path of a run.
    fn path(self, id: &str) -> String {
        match self {
            Self::StructureRuns => format!("/api/structure-runs/{id}"),
            Self::AgentSdk => format!("/api/runs/{id}"),
            Self::PublicRuns => format!("/v1/runs/{id}"),
            Self::Grpc => unreachable!("gRPC has no paths"),
        }
    }

    /// The run's events by page.
    async fn list(self, gateway: &Gateway, id: &str) -> Vec<(String, String)> {
        if self == Self::Grpc {
            return list_over_grpc(gateway, id).await;
        }
        let response = gateway.client.get(gateway.url(&format!("{}/events", self.path(id)))).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{self:?}: {text}");
        let page: Page = serde_json::from_str(&text).unwrap();
        page.events.into_iter().map(|event| self.without_envelope(event)).collect()
    }

    /// The run's events by stream.
    async fn follow(self, gateway: &Gateway, id: &str) -> Vec<(String, String)> {
        if self == Self::Grpc {
            return follow_over_grpc(gateway, id).await;
        }
        let (status, stream) = gateway.stream(&format!("{}/events/stream", self.path(id))).await;
        assert_eq!(status, 200, "{self:?}: {stream}");
        let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| self.without_envelope(serde_json::from_str(data).unwrap())).collect()
    }

    /// Removes the envelope.
    fn without_envelope(self, event: Read) -> (String, String) {
        if self != Self::PublicRuns {
            return (event.r#type, event.payload.get().to_owned());
        }
        let shown: Shown = serde_json::from_str(event.payload.get()).unwrap();
        assert!(!shown.redacted, "nothing here is to be left out");
        (event.r#type, shown.value.get().to_owned())
    }
}

async fn publish(gateway: &Gateway, run_id: &str, event_type: &str, payload: &str) {
    let json = pb::payload::Variant::Json(payload.to_owned());
    let event = pb::NewEvent {
        r#type: event_type.to_owned(),
        payload: Some(pb::Payload { variant: Some(json), ..Default::default() }),
        ..Default::default()
    };
    let publish = pb::PublishRequest { run_id: run_id.to_owned(), events: vec![event], ..Default::default() };
    gateway.events().await.publish(publish).await.unwrap();
}

fn from_grpc(event: pb::Event) -> (String, String) {
    match event.payload.and_then(|payload| payload.variant) {
        Some(pb::payload::Variant::Json(json)) => (event.r#type, json),
        other => panic!("{other:?} is not the JSON that was asked for"),
    }
}

async fn list_over_grpc(gateway: &Gateway, id: &str) -> Vec<(String, String)> {
    let list = pb::ListEventsRequest {
        scope: Some(pb::list_events_request::Scope::RunId(id.to_owned())),
        payload_format: pb::PayloadFormat::Json.into(),
        ..Default::default()
    };
    let page = gateway.events().await.list_events(list).await.unwrap().into_inner();
    page.events.into_iter().map(from_grpc).collect()
}

async fn follow_over_grpc(gateway: &Gateway, id: &str) -> Vec<(String, String)> {
    let subscribe = pb::SubscribeRequest {
        scope: Some(pb::subscribe_request::Scope::RunId(id.to_owned())),
        payload_format: pb::PayloadFormat::Json.into(),
        ..Default::default()
    };
    let mut frames = gateway.events().await.subscribe(subscribe).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(frame) = frames.message().await.unwrap() {
        if let Some(pb::subscribe_response::Frame::Events(batch)) = frame.frame {
            events.extend(batch.events().unwrap().into_iter().map(from_grpc));
        }
    }
    events
}

#[tokio::test]
async fn a_run_written_over_one_api_is_read_over_every_other_as_it_was_sent() {
    let sent: Vec<_> = EVENTS.iter().map(|(name, payload)| ((*name).to_owned(), (*payload).to_owned())).collect();
    for writer in APIS {
        let gateway = Gateway::start().await;
        let id = writer.write(&gateway).await;
        let mut whole = None;
        for reader in APIS {
            for read in [reader.list(&gateway, &id).await, reader.follow(&gateway, &id).await] {
                let of_the_producer = &read[read.len().saturating_sub(sent.len())..];
                assert_eq!(of_the_producer, sent, "written by {writer:?}, read by {reader:?}");
                // All readers see the same events, including the API's own event before them.
                assert_eq!(
                    *whole.get_or_insert_with(|| read.clone()),
                    read,
                    "written by {writer:?}, read by {reader:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_run_has_one_status_in_every_api() {
    for writer in APIS {
        let gateway = Gateway::start().await;
        let id = writer.write(&gateway).await;
        for (reader, status) in
            [(Api::StructureRuns, "SUCCEEDED"), (Api::AgentSdk, "success"), (Api::PublicRuns, "succeeded")]
        {
            let (code, run) = gateway.get(&reader.path(&id)).await;
            assert_eq!(
                (code, &run["status"]),
                (200, &json!(status)),
                "written by {writer:?}, read by {reader:?}: {run}"
            );
        }
    }
}
