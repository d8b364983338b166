//! What the store keeps after a removal: read as a whole, compared with the fate of each event, and learned by the oracle.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use runlog::codec::record;
use runlog::domain::{Error, Event, Payload, Removal};
use runlog::store::{Range, ReadFrom};

use crate::listing;
use crate::ops::{RUNS, ScopeSpec};
use crate::oracle::{self, Oracle};
use crate::server::{Server, guarded};
use crate::stores::Backend;
use crate::world::World;

/// What a removal does with an event; an event that it does not name stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// The payload goes or stays.
    MayGo,
    Goes,
}

/// A removal that was answered.
pub struct Removed {
    pub kind: Removal,
    pub fates: HashMap<(u8, u64), Fate>,
    /// Events recorded before may leave the feed although their run keeps them.
    pub feed_from: Option<Timestamp>,
}

impl Removed {
    fn fate(&self, run: u8, seq: u64) -> Fate {
        self.fates.get(&(run, seq)).copied().unwrap_or(Fate::Stays)
    }
}

impl<B: Backend> World<B> {
    /// Reads all runs and the feed after a removal. Returns the number of payloads that are gone.
    pub async fn learn_removed(&mut self, removed: &Removed) -> u64 {
        listing::learn_feed(&self.server, &mut self.oracle).await;
        let newest = self.oracle.feed.last().copied();
        let mut lost = 0;
        for run in 0..RUNS {
            if let Some((first, events)) = all(&self.server, Some(run)).await {
                lost += self.oracle.learn_run(run, (first, &events), removed, newest);
                let stored = guarded(self.server.service.run(&oracle::run_id(run))).await.unwrap();
                let is_held = self.oracle.runs[usize::from(run)].is_held;
                assert_eq!((stored.first_seq, stored.is_held), (first, is_held), "the row of run {run}");
            } else {
                assert_eq!(self.oracle.end(Some(run)).0, 0, "run {run} exists");
            }
        }
        let (first, events) = all(&self.server, None).await.expect("the feed");
        self.oracle.learn_feed_begin(first, removed.feed_from);
        for (offset, event) in (first..).zip(&events).take_while(|(offset, _)| *offset <= self.oracle.feed.len() as u64)
        {
            self.oracle.check(None, offset, event);
        }
        lost
    }
}

/// First offset of a scope, and all its events; `None` for a run that does not exist.
async fn all(server: &Server, scope: ScopeSpec) -> Option<(u64, Vec<Event>)> {
    let scope = oracle::scope(scope);
    let first = match guarded(server.store.extent(&scope)).await {
        Err(Error::RunNotFound { .. }) => return None,
        extent => extent.unwrap().first,
    };
    let (mut next, mut events) = (first, Vec::new());
    loop {
        let range = Range { from: ReadFrom::After(next - 1), max_events: 500, max_bytes: 1 << 20 };
        let page = guarded(server.store.read(&scope, range)).await.unwrap();
        assert_eq!(page.first, first);
        if page.chunks.is_empty() {
            return Some((first, events));
        }
        for (offset, bytes) in page.chunks.iter().flat_map(|chunk| chunk.records()).map(Result::unwrap) {
            assert_eq!(offset, next, "no gap in what is kept of {scope:?}");
            events.push(record::decode(bytes).unwrap());
            next += 1;
        }
    }
}

impl Oracle {
    /// Compares a run with the fates of its events, and learns what is gone. Returns the number of payloads that are gone.
    fn learn_run(
        &mut self,
        run: u8,
        (first, events): (u64, &[Event]),
        removed: &Removed,
        newest: Option<(u8, u64)>,
    ) -> u64 {
        self.check_begin(run, first, removed, newest);
        let gone = self.runs[usize::from(run)].gone;
        let mut lost = 0;
        for seq in gone + 1..first + events.len() as u64 {
            let before = self.at(run, seq).removal;
            let after = match seq.checked_sub(first) {
                None => before.or(Some(Removal::Expired)),
                Some(index) => events[usize::try_from(index).unwrap()].removal,
            };
            let fate = removed.fate(run, seq);
            let is_right = match fate {
                Fate::Stays => after == before,
                Fate::MayGo => after == before || after == before.or(Some(removed.kind)),
                Fate::Goes => after == before.or(Some(removed.kind)),
            };
            assert!(is_right, "{seq} of run {run} was {before:?} and is {after:?}, its fate being {fate:?}");
            if before != after {
                lost += 1;
                self.lose_payload(run, seq, after);
            }
        }
        self.change(run, |model| model.gone = (first - 1).min(model.last()));
        for event in events {
            self.check(Some(run), event.seq, event);
        }
        lost
    }

    /// Records that an event was erased before it was read.
    pub fn learn_erased(&mut self, run: u8, event: &Event) {
        let is_named = |(of, seqs): &(u8, RangeInclusive<u64>)| *of == run && seqs.contains(&event.seq);
        if event.removal == Some(Removal::Erased) && self.erasing.as_ref().is_some_and(is_named) {
            self.lose_payload(run, event.seq, event.removal);
        }
    }

    fn lose_payload(&mut self, run: u8, seq: u64, removal: Option<Removal>) {
        self.change(run, |model| {
            if let Some(stored) = model.events.get_mut(usize::try_from(seq - 1).unwrap()) {
                (stored.removal, stored.joined_from) = (removal, None);
                stored.new.payload = Payload::from_parts(Removal::PAYLOAD, false);
            }
        });
    }

    /// The run begins with the first event that does not go. The newest event of the project stays.
    fn check_begin(&self, run: u8, first: u64, removed: &Removed, newest: Option<(u8, u64)>) {
        let begin = self.first(Some(run));
        if removed.kind != Removal::Expired {
            return assert_eq!(first, begin, "only retention shortens a run");
        }
        let is_settled = self.runs.iter().all(|run| run.doubt.is_none());
        let is_newest = |seq| newest == Some((run, seq));
        let last = self.runs[usize::from(run)].last();
        let until = |goes: &dyn Fn(u64) -> bool| (begin..=last).find(|seq| !goes(*seq)).unwrap_or(last + 1);
        let least = until(&|seq| removed.fate(run, seq) == Fate::Goes && !is_newest(seq));
        let most = until(&|seq| removed.fate(run, seq) != Fate::Stays && !(is_settled && is_newest(seq)));
        assert!((least..=most).contains(&first), "run {run} begins with {first}, expected was {least} to {most}");
    }

    /// Events leave the feed once their run does not keep them, or when all rules allow it.
    fn learn_feed_begin(&mut self, first: u64, feed_from: Option<Timestamp>) {
        assert!(first >= self.first(None), "the feed began with {} and begins with {first}", self.first(None));
        assert!(first <= (self.feed.len() as u64).max(1), "the newest event stays in the feed");
        for offset in self.first(None)..first {
            let (run, seq) = self.place(None, offset);
            let is_old = || self.at(run, seq).recorded_at.zip(feed_from).is_some_and(|(at, from)| at < from);
            assert!(seq < self.first(Some(run)) || is_old(), "{offset} has left the feed too early");
        }
        self.feed_gone = first - 1;
    }
}
