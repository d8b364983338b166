//! Stored state that a plan starts from: runs, and events whose ids an append repeats.

use foldhash::HashMap;

use crate::domain::event::ContentDigest;
use crate::domain::{EventId, NewEvent, Run};
use crate::store::{ProjectNumber, RunKey};

/// State of a run in the writer's memory, without documents.
#[derive(Clone, Debug)]
pub struct RunState {
    /// Key of the run in the store's tables.
    pub number: i64,
    /// The run after its last committed or planned event.
    pub run: Run,
}

impl RunState {
    /// The project of the run.
    pub fn project(&self) -> ProjectNumber {
        ProjectNumber::of_run(self.number)
    }

    /// The run among those of all projects.
    pub fn key(&self) -> RunKey {
        RunKey::new(self.project(), self.run.run_id.clone())
    }
}

/// Stored events by run number and event id, for the detection of duplicates.
pub type ExistingEvents = HashMap<(i64, EventId), ExistingEvent>;

/// A stored event with an id that an append repeats.
pub struct ExistingEvent {
    /// Seq of the stored event.
    pub seq: u64,
    /// Digest of the content. `None`: the stored payload is far longer than the payloads sent with this id, so the
    /// events differ and the payload is not read: a request with small events must not cause 1,000 large payloads to be
    /// parsed.
    pub content: Option<ContentDigest>,
    /// Whether the payload is as sent, see [`Event::is_as_sent`](crate::domain::Event::is_as_sent).
    pub is_as_sent: bool,
}

/// Maximum length of a stored payload that is compared with a payload of this length. Two encodings of the same JSON
/// never differ by more.
pub fn longest_to_compare(sent_bytes: usize) -> usize {
    const TIMES: usize = 64;
    const AT_LEAST_BYTES: usize = 64 << 10;
    sent_bytes.saturating_mul(TIMES).saturating_add(AT_LEAST_BYTES)
}

impl ExistingEvent {
    /// Whether `new` counts as a repeat of the stored event: it has the same content, as far as that is kept.
    pub fn has_content_of(&self, new: &NewEvent) -> bool {
        !self.is_as_sent || self.content.is_some_and(|content| content == new.content().digest())
    }
}
