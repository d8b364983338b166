//! Removes events from the store, and checks what is left against the rules: an exact range for an erasure and a compaction, the
//! ages for retention.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::sample::Index;
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{Error, Payload, Removal, RunStatus};
use runlog::service::erase::EraseEvents;

use crate::kept::{Fate, Removed};
use crate::ops::{EventSpec, Expect, Id, PublishSpec, RUNS};
use crate::oracle::{self, Oracle};
use crate::removal_specs::{ExpireSpec, Remove};
use crate::server::guarded;
use crate::stores::Backend;
use crate::world::World;

/// The age of the event that `short` names.
const SHORT: Duration = Duration::from_secs(3_600);

/// More than the record of an event takes beside its payload, bytes.
const BESIDE_PAYLOAD: u64 = 1_000;

/// Most slices of a pass.
const MAX_SLICES: usize = 1_000;

impl<B: Backend> World<B> {
    pub async fn remove(&mut self, remove: Remove) {
        self.settle().await;
        match remove {
            Remove::Erase { run, first, last, publishes } => self.erase(run, (first, last), publishes).await,
            Remove::Hold(run, is_held) => self.hold(run, is_held).await,
            Remove::Expire(spec) => self.expire(&spec).await,
            Remove::Compact { run, last, step, count } => self.compact(run, last, step, count).await,
        }
    }

    async fn erase(&mut self, run: u8, (first, last): (u64, u64), publishes: bool) {
        if publishes && self.oracle.runs[usize::from(run)].doubt.is_none() {
            let event = |seed| EventSpec { id: Id::None, seed, other: 0, occurred_at: None };
            self.submit(PublishSpec { run, events: vec![event(5), event(10)], expect: Expect::Nothing }).await;
        }
        let (acked, handed_in) = self.oracle.end(Some(run));
        let kept = self.oracle.first(Some(run));
        let erase = EraseEvents { run_id: oracle::run_id(run), first_seq: first, last_seq: last };
        let answer = guarded(self.server.service.erase_events(&erase)).await;
        let up_to = |end: u64| first.max(kept)..=if last == 0 { end } else { last.min(end) };
        let (least, most) = (up_to(acked), up_to(handed_in));
        self.oracle.erasing = Some((run, most.clone()));
        self.settle().await;
        self.oracle.erasing = None;
        match answer {
            Ok(erased) => {
                let counts = least.clone().count() as u64..=most.clone().count() as u64;
                assert!(counts.contains(&erased.events), "{erased:?} by {erase:?}, expected were {counts:?}");
            }
            Err(Error::RunNotFound { .. }) => return assert_eq!(acked, 0, "run {run} exists"),
            Err(error) => panic!("{erase:?} failed: {error:?}"),
        }
        let fate = |seq: u64| if least.contains(&seq) { Fate::Goes } else { Fate::MayGo };
        let fates = most.clone().map(|seq| ((run, seq), fate(seq))).collect();
        self.learn_removed(&Removed { kind: Removal::Erased, fates, feed_from: None }).await;
    }

    async fn hold(&mut self, run: u8, is_held: bool) {
        match guarded(self.server.service.hold_run(&oracle::run_id(run), is_held)).await {
            Ok(stored) => assert_eq!(stored.is_held, is_held),
            Err(Error::RunNotFound { .. }) => return assert_eq!(self.oracle.end(Some(run)).0, 0),
            Err(error) => panic!("holding run {run} failed: {error:?}"),
        }
        self.oracle.change(run, |model| model.is_held = is_held);
    }

    async fn compact(&mut self, run: u8, last: Index, step: u64, count: u64) {
        let (acked, handed_in) = self.oracle.end(Some(run));
        if handed_in == 0 {
            return;
        }
        let last = 1 + last.index(usize::try_from(handed_in).unwrap()) as u64;
        let removed: Vec<u64> = (1..=count).filter_map(|n| last.checked_sub(n * step)).filter(|seq| *seq > 0).collect();
        if removed.is_empty() {
            return;
        }
        let payload = || Payload::from_parts(format!("{{\"joined\":[{step}, {count}]}}"), false);
        let answer = guarded(self.server.store.compact(&oracle::run_id(run), &removed, last, payload())).await;
        let model = &self.oracle.runs[usize::from(run)];
        let has_payload = |seq: &u64| *seq > model.gone && self.oracle.at(run, *seq).removal.is_none();
        let may_be = removed.iter().chain([&last]).all(has_payload);
        match answer {
            Ok(false) => return assert!(!may_be || last > acked, "{removed:?} of run {run} were there"),
            Ok(true) => assert!(may_be, "some of {removed:?} and {last} of run {run} were removed before"),
            Err(Error::RunNotFound { .. }) => return assert_eq!(acked, 0),
            Err(error) => panic!("the compaction of run {run} failed: {error:?}"),
        }
        let text_from = |seq: &u64| self.oracle.at(run, *seq).joined_from.unwrap_or(*seq);
        let joined_from = removed.iter().chain([&last]).map(text_from).min();
        self.oracle.change(run, |model| {
            if let Some(stored) = model.events.get_mut(usize::try_from(last - 1).unwrap()) {
                (stored.new.payload, stored.joined_from) = (payload(), joined_from);
            }
        });
        let fates = removed.iter().map(|seq| ((run, *seq), Fate::Goes)).collect();
        self.learn_removed(&Removed { kind: Removal::Compacted, fates, feed_from: None }).await;
    }

    async fn expire(&mut self, spec: &ExpireSpec) {
        let feed = &self.oracle.feed;
        if feed.is_empty() {
            return;
        }
        let time = |index: Index| {
            let (run, seq) = feed[index.index(feed.len())];
            self.oracle.at(run, seq).recorded_at.expect("all of the feed was read")
        };
        let (older, newer) = (time(spec.short).min(time(spec.long)), time(spec.short).max(time(spec.long)));
        let long = SHORT + Duration::try_from(newer.duration_since(older)).unwrap();
        let retention = spec.rules.retention(SHORT, long);
        if retention.max_bytes.is_some() && self.oracle.runs.iter().any(|run| run.doubt.is_some()) {
            // An event that is not known yet might go.
            return;
        }
        let past = SignedDuration::from_micros(spec.is_past.into());
        let now = newer + SignedDuration::try_from(SHORT).unwrap() + past;
        let fates = self.oracle.fates(&retention, now, spec.is_whole);
        let removed = self.expired(&retention, now, spec.is_whole).await;
        let feed_from = retention.longest().map(|longest| now - SignedDuration::try_from(longest).unwrap());
        let lost = self.learn_removed(&Removed { kind: Removal::Expired, fates, feed_from }).await;
        assert_eq!(removed, lost, "the number of expired events");
        if let Some(max) = retention.max_bytes.filter(|_| spec.is_whole) {
            self.oracle.check_bytes(max);
        }
    }

    /// One slice after what was examined before, or a pass from the beginning. Returns the number of removed payloads.
    async fn expired(&mut self, retention: &Retention, now: Timestamp, is_whole: bool) -> u64 {
        if is_whole {
            self.examined = 0;
        }
        let mut events = 0;
        for _ in 0..MAX_SLICES {
            let expired = guarded(self.server.store.expire(retention, now, self.examined)).await.expect("a slice");
            assert!(expired.examined >= self.examined, "a pass goes on: {expired:?} after {}", self.examined);
            self.examined = expired.examined;
            events += expired.events;
            if expired.is_done || !is_whole {
                return events;
            }
        }
        panic!("a pass does not end");
    }
}

impl Oracle {
    /// Fates of all events under these rules; a slice may leave what a whole pass removes.
    fn fates(&self, retention: &Retention, now: Timestamp, is_whole: bool) -> HashMap<(u8, u64), Fate> {
        let fits = |max: u64| self.payload_bytes() + BESIDE_PAYLOAD * self.feed.len() as u64 <= max;
        let is_full = retention.max_bytes.is_some_and(|max| !fits(max));
        let fate = |run: u8, seq: u64| {
            let (model, stored) = (&self.runs[usize::from(run)], self.at(run, seq));
            let Some(recorded_at) = stored.recorded_at.filter(|_| !model.is_held) else { return Fate::Stays };
            let is_old = |status: Option<RunStatus>| match retention
                .keep(stored.new.event_type.as_str(), status.unwrap_or(RunStatus::Unspecified))
            {
                Keep::Forever => false,
                Keep::For(age) => recorded_at < now - SignedDuration::try_from(age).unwrap(),
            };
            let without = model.doubt.as_ref().map_or(model.status, |doubt| doubt.without.status);
            match (is_old(model.status), is_old(without)) {
                (true, true) if is_whole => Fate::Goes,
                (false, false) if !is_full => Fate::Stays,
                _ => Fate::MayGo,
            }
        };
        let all = (0..RUNS).flat_map(|run| (1..=self.runs[usize::from(run)].last()).map(move |seq| (run, seq)));
        all.map(|(run, seq)| ((run, seq), fate(run, seq))).collect()
    }

    fn payload_bytes(&self) -> u64 {
        let stored = self.runs.iter().flat_map(|run| &run.events).filter(|stored| stored.removal.is_none());
        stored.map(|stored| stored.new.payload.as_str().len() as u64).sum()
    }

    /// After a pass that keeps at most this number of bytes: what is left fits, or is held.
    fn check_bytes(&self, max: u64) {
        let has_payload = |run: &&oracle::RunModel| run.events.iter().any(|stored| stored.removal.is_none());
        let all_held = self.runs.iter().filter(has_payload).all(|run| run.is_held);
        assert!(all_held || self.payload_bytes() <= max, "{} bytes are left of {max}", self.payload_bytes());
    }
}
