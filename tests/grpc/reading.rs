//! Requests of readers, and a subscription read frame by frame.

use runlog::pb;
use runlog::pb::list_events_request::Scope as ListScope;
use runlog::pb::payload::Variant;
use runlog::pb::subscribe_request::{Scope, Start};
use runlog::pb::subscribe_response::Frame;
use tonic::{Status, Streaming};

use crate::harness::in_time;

/// Lists a run: JSON, full view, 100 events a page.
pub fn list_run(run_id: &str) -> pb::ListEventsRequest {
    pb::ListEventsRequest { scope: Some(ListScope::RunId(run_id.to_owned())), ..list_all_runs() }
}

/// Lists all runs: JSON, full view, 100 events a page.
pub fn list_all_runs() -> pb::ListEventsRequest {
    pb::ListEventsRequest {
        scope: Some(ListScope::AllRuns(pb::AllRuns {})),
        payload_format: pb::PayloadFormat::Json.into(),
        view: pb::EventView::Full.into(),
        ..Default::default()
    }
}

/// Follows a run from its first event: JSON, full view.
pub fn follow_run(run_id: &str) -> pb::SubscribeRequest {
    pb::SubscribeRequest { scope: Some(Scope::RunId(run_id.to_owned())), ..follow_all_runs() }
}

/// Follows all runs from the first event: JSON, full view.
pub fn follow_all_runs() -> pb::SubscribeRequest {
    pb::SubscribeRequest {
        scope: Some(Scope::AllRuns(pb::AllRuns {})),
        payload_format: pb::PayloadFormat::Json.into(),
        view: pb::EventView::Full.into(),
        ..Default::default()
    }
}

/// Starts after a cursor.
pub fn after(cursor: &str) -> Option<Start> {
    Some(Start::Cursor(cursor.to_owned()))
}

/// A filter with these types.
pub fn types(patterns: &[&str]) -> Option<pb::EventFilter> {
    Some(pb::EventFilter { types: patterns.iter().map(|text| (*text).to_owned()).collect(), ..Default::default() })
}

/// The seqs of events.
pub fn seqs(events: &[pb::Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

/// The payload of an event requested as JSON.
pub fn json_of(event: &pb::Event) -> &str {
    match event.payload.as_ref().and_then(|payload| payload.variant.as_ref()) {
        Some(Variant::Json(json)) => json,
        other => panic!("asked for JSON, got {other:?}"),
    }
}

/// A subscription with the cursor of its last frame.
#[derive(Debug)]
pub struct Reader {
    frames: Streaming<pb::SubscribeResponse>,
    /// The cursor of the last frame.
    pub cursor: String,
}

/// A decoded frame.
#[derive(Debug, PartialEq)]
pub enum Received {
    Events(Vec<pb::Event>),
    CaughtUp(u64),
    Heartbeat,
    Ended(pb::RunStatus, u64),
}

impl Reader {
    pub fn new(frames: Streaming<pb::SubscribeResponse>) -> Self {
        Self { frames, cursor: String::new() }
    }

    /// The next frame; `None` after the stream closed with OK.
    pub async fn try_next(&mut self) -> Result<Option<Received>, Status> {
        let Some(response) = in_time(self.frames.message()).await? else { return Ok(None) };
        self.cursor = response.cursor;
        Ok(Some(match response.frame.expect("every frame says something") {
            Frame::Events(batch) => Received::Events(batch.events().unwrap()),
            Frame::CaughtUp(pb::CaughtUp { last_seq }) => Received::CaughtUp(last_seq),
            Frame::Heartbeat(pb::Heartbeat {}) => Received::Heartbeat,
            Frame::RunEnded(ended) => Received::Ended(ended.status(), ended.last_seq),
        }))
    }

    /// The next frame; an error or the end fails the test.
    pub async fn next(&mut self) -> Received {
        self.try_next().await.unwrap().expect("the stream goes on")
    }

    /// Reads at least this number of events, and skips other frames.
    pub async fn events(&mut self, count: usize) -> Vec<pb::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            if let Received::Events(more) = self.next().await {
                assert!(!more.is_empty(), "a frame of events holds at least one");
                events.extend(more);
            }
        }
        events
    }

    /// Reads all frames to the end of the stream, without heartbeats.
    pub async fn rest(&mut self) -> Vec<Received> {
        let mut received = Vec::new();
        while let Some(frame) = self.try_next().await.unwrap() {
            if frame != Received::Heartbeat {
                received.push(frame);
            }
        }
        received
    }

    /// The status of a broken stream; earlier frames are skipped.
    pub async fn broken(&mut self) -> Status {
        loop {
            match self.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream closed with OK"),
                Err(status) => return status,
            }
        }
    }

    /// Reads to the end of the replay; returns the events and the `last_seq` of the `CaughtUp` frame.
    pub async fn replay(&mut self) -> (Vec<pb::Event>, u64) {
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Received::Events(more) => events.extend(more),
                Received::CaughtUp(last_seq) => return (events, last_seq),
                other => panic!("in the replay came {other:?}"),
            }
        }
    }
}

/// The events of the frames.
pub fn events_of(received: &[Received]) -> Vec<pb::Event> {
    let events = received.iter().filter_map(|received| match received {
        Received::Events(events) => Some(events.clone()),
        _ => None,
    });
    events.flatten().collect()
}
