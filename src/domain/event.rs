//! Events: what a producer sends and what is stored.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::ids::{AgentName, EventId, EventType, RunId};
use super::json::{Payload, canonical};
use super::run::RunStatus;

/// Who tells: the platform that runs the agent, or the agent's own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Lifecycle transitions from workers and the platform.
    System,
    /// What a run's own code posts.
    User,
}

impl Origin {
    /// The origin of an event whose producer named none: the documented lifecycle types come from the platform.
    #[must_use]
    pub fn default_for(event_type: &EventType) -> Self {
        match event_type.as_str() {
            "StructureRunStarting" | "StructureRunRunning" | "StructureRunCompleted" | "StructureRunError" => {
                Self::System
            }
            other if other.starts_with("run.") => Self::System,
            _ => Self::User,
        }
    }
}

/// An event as a producer sends it, checked.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The producer's id; `None` lets the store give one.
    pub event_id: Option<EventId>,
    /// What happened.
    pub event_type: EventType,
    /// Who tells.
    pub origin: Origin,
    /// The producer's clock; `None` takes the server's.
    pub occurred_at: Option<Timestamp>,
    /// The Unix time as a double that the producer sent, where `occurred_at` does not give it back: see
    /// [`UnixSeconds`](super::time::UnixSeconds).
    pub sent_seconds: Option<f64>,
    /// The agent, where the producer names it.
    pub agent_name: Option<AgentName>,
    /// The payload as sent.
    pub payload: Payload,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The run.
    pub run_id: RunId,
    /// Its place in the run: 1, 2, 3 … without a gap.
    pub seq: u64,
    /// The producer's id, or the one that the store gave.
    pub event_id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// Who told.
    pub origin: Origin,
    /// The producer's clock as given, or `recorded_at`.
    pub occurred_at: Timestamp,
    /// The Unix time as a double that the producer sent, where `occurred_at` does not give it back.
    pub sent_seconds: Option<f64>,
    /// The server's clock at the commit, never decreasing in a run.
    pub recorded_at: Timestamp,
    /// The agent, where the producer named it.
    pub agent_name: Option<AgentName>,
    /// The payload as sent.
    pub payload: Payload,
}

/// What makes two events under one id the same event sent again: type, origin, agent, and the payload as JSON, however it is
/// written. `occurred_at` does not count: producers that stamp each try with a fresh clock must still be able to retry.
pub struct Content<'a> {
    event_type: &'a EventType,
    origin: Origin,
    agent_name: Option<&'a AgentName>,
    payload: &'a Payload,
}

/// A digest of [`Content`]: two contents are equal exactly if their digests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl Content<'_> {
    /// See [`ContentDigest`].
    #[must_use]
    pub fn digest(&self) -> ContentDigest {
        let mut hash = Sha256::new();
        // Names hold no NUL, so the parts cannot be taken for one another.
        hash.update(self.event_type.as_str());
        hash.update([0, self.origin as u8]);
        hash.update(self.agent_name.map_or("", AgentName::as_str));
        hash.update([0]);
        hash.update(canonical(self.payload.as_str()));
        ContentDigest(hash.finalize().into())
    }
}

impl PartialEq for Content<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.event_type, self.origin, self.agent_name) == (other.event_type, other.origin, other.agent_name)
            && (self.payload == other.payload || canonical(self.payload.as_str()) == canonical(other.payload.as_str()))
    }
}

impl NewEvent {
    /// See [`Content`].
    #[must_use]
    pub fn content(&self) -> Content<'_> {
        let Self { event_type, origin, agent_name, payload, .. } = self;
        Content { event_type, origin: *origin, agent_name: agent_name.as_ref(), payload }
    }
}

impl Event {
    /// See [`Content`].
    #[must_use]
    pub fn content(&self) -> Content<'_> {
        let Self { event_type, origin, agent_name, payload, .. } = self;
        Content { event_type, origin: *origin, agent_name: agent_name.as_ref(), payload }
    }
}

/// The answer to one published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its place in the run.
    pub seq: u64,
    /// The producer's id, or the one that the store gave.
    pub event_id: EventId,
    /// True when an earlier publish had stored it.
    pub duplicate: bool,
}

/// The answer to a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// One for each event, in their order.
    pub events: Vec<Published>,
    /// The run's status after the commit.
    pub status: RunStatus,
    /// The run's last seq after the commit.
    pub last_seq: u64,
}
