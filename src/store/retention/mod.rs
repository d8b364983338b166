//! Retention without I/O, for both stores: which events of a row go, and where their runs and the feed begin afterwards.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::RunStatus;
use crate::domain::retention::{Keep, Retention};

/// The rules of one slice.
pub struct Judge<'a> {
    pub retention: &'a Retention,
    pub now: Timestamp,
    /// Position of the newest event of the feed, which is never dropped.
    pub last: u64,
}

/// A run with events in the rows of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    pub run: i64,
    pub status: RunStatus,
    /// First seq that is kept. Events before it only fill the feed.
    pub first_seq: u64,
    pub is_held: bool,
}

/// An event of a row.
#[derive(Clone, Debug)]
pub struct EventFacts<'a> {
    /// Index of its run.
    pub run: usize,
    pub seq: u64,
    pub event_type: &'a str,
    pub recorded_at: Timestamp,
}

/// A row of the log: events that follow each other in the feed, and leave it together.
#[derive(Clone, Debug)]
pub struct RowFacts<'a> {
    /// Position of the first event.
    pub first: u64,
    /// At least one event.
    pub events: Vec<EventFacts<'a>>,
}

impl RowFacts<'_> {
    /// Position of the last event.
    pub fn last(&self) -> u64 {
        self.first + self.events.len() as u64 - 1
    }
}

/// What retention does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Stays as it is.
    Keep,
    /// Keeps its place without a payload.
    Expire,
    /// Leaves the log.
    Drop,
}

impl Judge<'_> {
    /// Whether an event of this time, and all later ones, are too young for every rule by age. Times may be out of order by a
    /// little, if clocks are; a later pass finds what this one leaves.
    pub fn is_young(&self, recorded_at: Timestamp) -> bool {
        self.retention.shortest().is_none_or(|age| !self.is_older(recorded_at, age))
    }

    /// Whether a pass ends before this row, unless the project has too many bytes. What only fills the feed does not end it: young
    /// events are there if the project had too many bytes before.
    pub fn ends_before(&self, row: &RowFacts<'_>, runs: &[RunFacts]) -> bool {
        row.events
            .first()
            .is_none_or(|event| event.seq >= runs[event.run].first_seq && self.is_young(event.recorded_at))
    }

    /// Decides about the events of a row. Moves the begins of their runs, and the begin of the feed if the row is the first one in
    /// it and need not be there any more. `is_over`: the project has too many bytes, so that the oldest events go at any age.
    pub fn decide(&self, row: &RowFacts<'_>, runs: &mut [RunFacts], begin: &mut u64, is_over: bool) -> Vec<Decision> {
        let has_newest = row.last() >= self.last;
        let decide = |(event, position): (&EventFacts<'_>, u64)| {
            let run = &mut runs[event.run];
            if event.seq < run.first_seq {
                Decision::Drop
            } else if run.is_held || !(is_over || self.is_too_old(event, run.status)) {
                Decision::Keep
            } else if event.seq == run.first_seq && position != self.last {
                run.first_seq += 1;
                Decision::Drop
            } else {
                Decision::Expire
            }
        };
        let mut decisions: Vec<Decision> = row.events.iter().zip(row.first..).map(decide).collect();
        let is_gone = || decisions.iter().all(|decision| *decision == Decision::Drop);
        if row.first == *begin && !has_newest && (is_gone() || self.has_left_feed(row)) {
            *begin = row.last() + 1;
        } else if row.first >= *begin {
            // The feed has no gaps.
            let fills = decisions.iter_mut().filter(|decision| **decision == Decision::Drop);
            fills.for_each(|decision| *decision = Decision::Expire);
        }
        decisions
    }

    fn is_older(&self, recorded_at: Timestamp, age: Duration) -> bool {
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        self.now.duration_since(recorded_at) > age
    }

    fn is_too_old(&self, event: &EventFacts<'_>, status: RunStatus) -> bool {
        match self.retention.keep(event.event_type, status) {
            Keep::Forever => false,
            Keep::For(age) => self.is_older(event.recorded_at, age),
        }
    }

    /// Whether all events of the row are too old for the feed, also if they stay in their runs.
    fn has_left_feed(&self, row: &RowFacts<'_>) -> bool {
        let newest = row.events.iter().map(|event| event.recorded_at).max();
        newest.zip(self.retention.longest()).is_some_and(|(newest, age)| self.is_older(newest, age))
    }
}

#[cfg(test)]
mod tests;
