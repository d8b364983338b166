//! The sent and the acknowledged events of the publishers by run, to compare with any later state of the server.
//!
//! Each run has one publisher, which sends the events in order and retries unacknowledged events. So the stored run is
//! always a prefix of the sent events, and contains all acknowledged events.

use runlog::pb::{self, RunStatus};

use crate::client::{self, Events, json_of};

/// Events before the end of a run; one more event comes late.
const LENGTH: usize = 30;

/// The seq of the event that ends the run.
pub const END: u64 = LENGTH as u64 + 1;

/// One run of one publisher.
#[derive(Debug)]
pub struct Run {
    pub id: String,
    pub sent: Vec<pb::NewEvent>,
    pub acked: usize,
    /// Number of stored events at the start of the server: unacknowledged events up to here must be duplicates, later
    /// events new.
    pub stored_at_start: usize,
    /// Events up to here are compared already.
    pub verified: usize,
    /// Unanswered events were sent in one request, so all of them are stored or none.
    pub is_batched: bool,
    /// Unanswered events may have been stored since the start of the server.
    pub is_unknown: bool,
}

impl Run {
    pub fn new(id: String, is_batched: bool) -> Self {
        Self { id, sent: Vec::new(), acked: 0, stored_at_start: 0, verified: 0, is_batched, is_unknown: false }
    }

    /// Makes the next event, with a new id and a unique payload.
    pub fn next_event(&mut self) -> pb::NewEvent {
        let n = self.sent.len();
        let event_type = match n {
            0 => "run_start",
            LENGTH => "run_end",
            _ if n.is_multiple_of(3) => "step",
            _ => "step.progress",
        };
        // Mostly small, sometimes larger than a page of the database.
        let filler = "x".repeat(if n % 17 == 16 { 9_000 } else { n * 7 % 400 });
        let payload = format!("{{ \"run\":\"{}\", \"n\":{n},  \"text\":\"{filler}\" }}", self.id);
        let event = client::event(&format!("{}-{n}", self.id), event_type, &payload);
        self.sent.push(event.clone());
        event
    }

    pub fn is_full(&self) -> bool {
        self.sent.len() > LENGTH + 1
    }

    /// Promises 1 to 3 for an answer: the events have the expected seqs, and are duplicates exactly if stored before
    /// the start of the server.
    pub fn acknowledge(&mut self, answer: &pb::PublishResponse) {
        for event in &answer.events {
            assert_eq!(event.seq, self.acked as u64 + 1, "run {}", self.id);
            assert_eq!(event.event_id, self.sent[self.acked].event_id);
            assert_eq!(event.duplicate, self.acked < self.stored_at_start, "event {} of {}", event.seq, self.id);
            self.acked += 1;
        }
    }

    /// Compares the server with the sent events: all events with `everything`, otherwise only new ones.
    pub async fn verify(&mut self, events: &mut Events, runs: &mut Runs, everything: bool) {
        let after = if everything { 0 } else { self.verified };
        let stored = match client::list_after(events, &self.id, after as u64).await {
            Ok(stored) => stored,
            Err(status) if client::refusal(&status).1 == "RUN_NOT_FOUND" => {
                assert_eq!(self.acked, 0, "run {} was acknowledged and is gone", self.id);
                return;
            }
            Err(status) => panic!("{status}"),
        };
        let total = after + stored.len();
        assert!(total >= self.acked, "run {} lost {} of {} events", self.id, self.acked - total, self.acked);
        assert!(total <= self.sent.len(), "run {} has {total} events and {} were sent", self.id, self.sent.len());
        assert!(!self.is_batched || total == self.acked || total == self.sent.len(), "half a batch in {}", self.id);
        for (index, event) in (after..).zip(&stored) {
            let sent = &self.sent[index];
            assert_eq!((event.seq, &event.event_id, &event.r#type), (index as u64 + 1, &sent.event_id, &sent.r#type));
            let payload = sent.payload.as_ref().and_then(|payload| payload.variant.clone());
            assert_eq!(Some(json_of(event)), payload.as_ref().map(text), "event {} of {}", event.seq, self.id);
        }
        let row = runs.get_run(pb::GetRunRequest { run_id: self.id.clone() }).await.unwrap().into_inner().run.unwrap();
        assert_eq!((row.last_seq, row.status), (total as u64, status_after(total) as i32), "the row of {}", self.id);
        (self.stored_at_start, self.verified) = (total, total);
    }
}

pub type Runs = runlog::pb::run_service_client::RunServiceClient<tonic::transport::Channel>;

fn text(variant: &pb::payload::Variant) -> &str {
    match variant {
        pb::payload::Variant::Json(text) => text,
        other => panic!("{other:?}"),
    }
}

fn status_after(events: usize) -> RunStatus {
    match events {
        0 => RunStatus::Unspecified,
        n if n <= LENGTH => RunStatus::Running,
        _ => RunStatus::Succeeded,
    }
}
