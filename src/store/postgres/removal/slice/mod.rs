//! What happens to the events of a slice of retention, without I/O.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::domain::RunStatus;
use crate::store::project::position_of;
use crate::store::retention::{Decision, EventFacts, Judge, RowFacts, RunFacts};

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

    /// The event as a row of its own, of the run with this index.
    fn row(&self, run: usize) -> RowFacts<'_> {
        // An event without a possible time is never old.
        let recorded_at = Timestamp::new(self.recorded_s, self.recorded_ns).unwrap_or(Timestamp::MAX);
        let event = EventFacts { run, seq: self.seq.unsigned_abs(), event_type: &self.event_type, recorded_at };
        RowFacts { first: self.position(), events: vec![event] }
    }

    fn run(&self) -> RunFacts {
        let status = RunStatus::from_number(self.run_status).unwrap_or(RunStatus::Unspecified);
        RunFacts { run: self.run, status, first_seq: self.first_seq.unsigned_abs(), is_held: self.held }
    }
}

/// What happens to the events of a slice. Events are named by their stored positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
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

impl Outcome {
    /// Decides about events that follow each other after the position `after` of a feed that begins with `first`. `excess`: bytes
    /// of stored events above the maximum.
    pub fn of(judge: &Judge<'_>, mut excess: i64, first: u64, after: u64, events: &[Candidate]) -> Self {
        let mut outcome = Self { examined: after, first, ..Self::default() };
        let (mut runs, mut indexes) = (Vec::new(), HashMap::new());
        for event in events {
            let index = *indexes.entry(event.run).or_insert_with(|| {
                runs.push(event.run());
                runs.len() - 1
            });
            let row = event.row(index);
            if excess <= 0 && judge.ends_before(&row, &runs) {
                outcome.is_done = true;
                break;
            }
            let decisions = judge.decide(&row, &mut runs, &mut outcome.first, excess > 0);
            let first_seq = runs[index].first_seq.cast_signed();
            excess -= outcome.add(event, decisions[0], first_seq);
        }
        outcome
    }

    /// Adds an event of a run that begins with `first_seq` from now on; returns the bytes that go.
    fn add(&mut self, event: &Candidate, decision: Decision, first_seq: i64) -> i64 {
        self.examined = event.position();
        if first_seq != event.first_seq {
            self.first_seqs.insert(event.run, first_seq);
        }
        match decision {
            Decision::Keep => return 0,
            Decision::Drop => self.deleted.push(event.pos),
            Decision::Expire if event.seq < event.first_seq => {}
            Decision::Expire if event.seq < first_seq => self.detached.push(event.pos),
            Decision::Expire if event.is_removed => {}
            Decision::Expire => self.stubs.push(event.pos),
        }
        if event.is_removed {
            return 0;
        }
        self.events += 1;
        self.bytes += u64::from(event.bytes.unsigned_abs());
        i64::from(event.bytes)
    }
}

#[cfg(test)]
mod tests;
