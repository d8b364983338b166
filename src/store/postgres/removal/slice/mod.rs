//! The decision about each event of a slice of retention, without I/O.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::RunStatus;
use crate::domain::retention::{Keep, Retention};
use crate::store::project::position_of;

/// An event of the slice, with what is known of its run.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Candidate {
    pub pos: i64,
    pub run: i64,
    pub seq: i64,
    pub event_type: String,
    pub recorded_s: i64,
    pub recorded_ns: i32,
    pub bytes: i32,
    pub is_removed: bool,
    /// Status of the run now.
    pub run_status: i64,
    /// First seq of the run before the slice.
    pub first_seq: i64,
    pub held: bool,
}

impl Candidate {
    fn position(&self) -> u64 {
        position_of(self.pos.unsigned_abs())
    }
}

/// What decides.
pub struct Rules<'a> {
    pub retention: &'a Retention,
    pub now: Timestamp,
    /// Bytes of stored events above the maximum.
    pub excess: i64,
    /// Position of the newest event, which stays.
    pub last: u64,
    /// First position of the feed.
    pub first: u64,
}

/// What happens to the events of a slice. Events are named by their stored positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Position up to which the events are decided.
    pub examined: u64,
    /// Whether the next event is too young, and so are all later ones.
    pub is_done: bool,
    /// New first position of the feed.
    pub first: u64,
    /// New first seqs of runs.
    pub first_seqs: BTreeMap<i64, i64>,
    /// Rows that go.
    pub deleted: Vec<i64>,
    /// Events that lose their payload and stay in their run.
    pub stubs: Vec<i64>,
    /// Events that lose their payload and their place in the run, and stay in the feed.
    pub detached: Vec<i64>,
    /// Number and bytes of payloads that go.
    pub events: u64,
    pub bytes: u64,
}

impl Rules<'_> {
    /// Decides about events that follow each other after the position `after`.
    pub fn decide(&self, after: u64, events: &[Candidate]) -> Decision {
        let mut decision = Decision { examined: after, first: self.first, ..Decision::default() };
        let mut excess = self.excess;
        let mut gone = Vec::new();
        for event in events {
            let position = event.position();
            let first_seq = decision.first_seqs.get(&event.run).copied().unwrap_or(event.first_seq);
            let was_detached = event.seq < first_seq;
            if !was_detached && excess <= 0 && self.is_young(event) {
                decision.is_done = true;
                break;
            }
            decision.examined = position;
            let goes = !event.held && (excess > 0 || self.is_old(event));
            let is_first = event.seq == first_seq && position != self.last;
            if goes && !was_detached && is_first {
                decision.first_seqs.insert(event.run, first_seq + 1);
            }
            let is_gone = was_detached || goes && is_first;
            if is_gone {
                gone.push(event);
            } else if goes && !event.is_removed {
                decision.stubs.push(event.pos);
            }
            if (is_gone || goes) && !event.is_removed {
                decision.events += 1;
                decision.bytes += u64::from(event.bytes.unsigned_abs());
                excess -= i64::from(event.bytes);
            }
            if position == decision.first && position != self.last && (is_gone || self.has_left_feed(event)) {
                decision.first += 1;
            }
        }
        for event in gone {
            if event.position() < decision.first {
                decision.deleted.push(event.pos);
            } else if event.seq >= event.first_seq {
                decision.detached.push(event.pos);
            }
        }
        decision
    }

    fn age(&self, event: &Candidate) -> Option<SignedDuration> {
        let recorded_at = Timestamp::new(event.recorded_s, event.recorded_ns).ok()?;
        Some(self.now.duration_since(recorded_at))
    }

    fn is_older(&self, event: &Candidate, limit: std::time::Duration) -> bool {
        let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        self.age(event).is_some_and(|age| age > limit)
    }

    /// Whether the event is too young for every rule.
    fn is_young(&self, event: &Candidate) -> bool {
        self.retention.shortest().is_none_or(|shortest| !self.is_older(event, shortest))
    }

    fn is_old(&self, event: &Candidate) -> bool {
        let status = RunStatus::from_number(event.run_status).unwrap_or(RunStatus::Unspecified);
        match self.retention.keep(&event.event_type, status) {
            Keep::Forever => false,
            Keep::For(limit) => self.is_older(event, limit),
        }
    }

    /// Whether the event is too old for the feed, also if it stays in its run.
    fn has_left_feed(&self, event: &Candidate) -> bool {
        self.retention.longest().is_some_and(|longest| self.is_older(event, longest))
    }
}

#[cfg(test)]
mod tests;
