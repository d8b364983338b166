//! Calls of an API client.

use runlog::pb::{
    self, event_service_client::EventServiceClient, list_events_request, payload::Variant, subscribe_request,
    subscribe_response::Frame,
};
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use crate::harness::within;

pub type Events = EventServiceClient<Channel>;

pub fn event(event_id: &str, event_type: &str, payload: &str) -> pb::NewEvent {
    pb::NewEvent {
        event_id: event_id.to_owned(),
        r#type: event_type.to_owned(),
        payload: Some(pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(payload.to_owned())) }),
        ..Default::default()
    }
}

pub fn publish(run_id: &str, events: Vec<pb::NewEvent>) -> pb::PublishRequest {
    pb::PublishRequest { run_id: run_id.to_owned(), events, expected_last_seq: None }
}

/// Publishes one event without an id and returns its seq.
pub async fn publish_one(events: &mut Events, run_id: &str, event_type: &str, payload: &str) -> u64 {
    let request = publish(run_id, vec![event("", event_type, payload)]);
    events.publish(request).await.expect("an acknowledgement").into_inner().events[0].seq
}

/// A subscription to one run, payloads as sent.
pub fn follow(run_id: &str) -> pb::SubscribeRequest {
    pb::SubscribeRequest {
        scope: Some(subscribe_request::Scope::RunId(run_id.to_owned())),
        payload_format: pb::PayloadFormat::Json as i32,
        view: pb::EventView::Full as i32,
        ..Default::default()
    }
}

/// A subscription to one run from a cursor.
pub fn follow_from(run_id: &str, cursor: &str) -> pb::SubscribeRequest {
    pb::SubscribeRequest { start: Some(subscribe_request::Start::Cursor(cursor.to_owned())), ..follow(run_id) }
}

pub async fn frame(frames: &mut Streaming<pb::SubscribeResponse>) -> Result<pb::SubscribeResponse, Status> {
    within("a frame", frames.message()).await.map(|frame| frame.expect("the stream goes on"))
}

/// Reads to the end of the replay; returns its events.
pub async fn caught_up(frames: &mut Streaming<pb::SubscribeResponse>) -> Vec<pb::Event> {
    let mut received = Vec::new();
    loop {
        match frame(frames).await.expect("a frame").frame.unwrap() {
            Frame::Events(batch) => received.extend(batch.events().unwrap()),
            Frame::CaughtUp(_) => return received,
            Frame::Heartbeat(_) => {}
            Frame::RunEnded(end) => panic!("ended: {end:?}"),
        }
    }
}

/// A subscription to all runs.
pub fn follow_all(cursor: &str) -> pb::SubscribeRequest {
    let scope = Some(subscribe_request::Scope::AllRuns(pb::AllRuns {}));
    pb::SubscribeRequest { scope, ..follow_from("", cursor) }
}

/// All events of a run after the seq `after`, payloads as sent.
pub async fn list_after(events: &mut Events, run_id: &str, after: u64) -> Result<Vec<pb::Event>, Status> {
    let mut found = Vec::new();
    let mut cursor = after.to_string();
    loop {
        let request = pb::ListEventsRequest {
            scope: Some(list_events_request::Scope::RunId(run_id.to_owned())),
            page_size: 1_000,
            cursor,
            payload_format: pb::PayloadFormat::Json as i32,
            view: pb::EventView::Full as i32,
            ..Default::default()
        };
        let page = within("a page", events.list_events(request)).await?.into_inner();
        found.extend(page.events);
        if !page.has_more {
            return Ok(found);
        }
        cursor = page.next_cursor;
    }
}

pub async fn list(events: &mut Events, run_id: &str) -> Vec<pb::Event> {
    list_after(events, run_id, 0).await.expect("a page")
}

pub fn json_of(event: &pb::Event) -> &str {
    match event.payload.as_ref().and_then(|payload| payload.variant.as_ref()) {
        Some(Variant::Json(text)) => text,
        other => panic!("a payload as sent, not {other:?}"),
    }
}

/// Code and reason of an error.
pub fn refusal(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

/// Whether the error is a broken connection and not an answer.
pub fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some() || (status.details().is_empty() && status.code() == Code::Unavailable)
}
