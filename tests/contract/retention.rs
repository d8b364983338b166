//! Retention and hold: what is kept is read as before, and what is gone is refused by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runlog::domain::event::Removal;
use runlog::domain::filter::TypePattern;
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{Error, Event, EventId, NewEvent, RunStatus, Scope};
use runlog::store::{Append, Commit, CommitListener, Import, ProjectNumber, Range, ReadFrom, Recorded, SharedStore};

use crate::fixture::*;

const HOUR: u64 = 3_600;

fn at(hour: u64) -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap() + SignedDuration::from_hours(hour.cast_signed())
}

/// Keeps everything for this number of hours.
fn hours(hours: u64) -> Keep {
    Keep::For(Duration::from_secs(hours * HOUR))
}

fn keeping(default: Keep) -> Retention {
    Retention { default, ..Retention::default() }
}

/// Appends these events, recorded at this hour.
async fn record(store: &SharedStore, run: &str, hour: u64, events: Vec<NewEvent>) {
    let times = vec![at(hour); events.len()];
    let recorded = Some(Box::new(Recorded { at: times, import: Import::default(), first_seq: None }));
    store.append(Append { recorded, ..append(run, events) }).await.unwrap();
}

/// One event an hour, each in a commit of its own.
async fn fill(store: &SharedStore, runs: &[&str], hours: std::ops::Range<u64>) {
    for hour in hours {
        for run in runs {
            record(store, run, hour, vec![event(&format!("{run}-{hour}"))]).await;
        }
    }
}

/// A whole pass; returns the number of removed events.
pub async fn pass(store: &SharedStore, retention: &Retention, now: Timestamp) -> u64 {
    let (mut after, mut events) = (0, 0);
    for _ in 0..10_000 {
        let expired = store.expire(retention, now, after).await.unwrap();
        assert!(expired.examined >= after, "a pass goes on: {expired:?} after {after}");
        (after, events) = (expired.examined, events + expired.events);
        if expired.is_done {
            return events;
        }
    }
    panic!("a pass does not end");
}

/// The kept events of a scope by offset, read page by page from its first one.
async fn kept(store: &SharedStore, scope: &Scope) -> BTreeMap<u64, Event> {
    let first = store.extent(scope).await.unwrap().first;
    let mut found = BTreeMap::new();
    loop {
        let after = found.keys().next_back().copied().unwrap_or(first - 1);
        let page = store.read(scope, ascending(after, 7)).await.unwrap();
        assert_eq!(page.first, first);
        if page.chunks.is_empty() {
            return found;
        }
        for chunk in page.chunks {
            assert_eq!(chunk.first, found.keys().next_back().map_or(first, |last| last + 1), "no gap");
            let records = chunk.records().map(Result::unwrap);
            found.extend(records.map(|(offset, bytes)| (offset, runlog::codec::record::decode(bytes).unwrap())));
        }
    }
}

/// Reads from every offset in both directions and compares each page with all that is kept.
async fn every_page_is_right(store: &SharedStore, scope: &Scope) {
    let whole = kept(store, scope).await;
    let (first, last) = (store.extent(scope).await.unwrap().first, store.extent(scope).await.unwrap().end.last);
    assert!(whole.keys().copied().eq(first..=last));
    let offsets = || 0..=last + 2;
    for from in offsets().map(ReadFrom::After).chain(offsets().map(ReadFrom::Before)).chain([ReadFrom::End]) {
        for max_events in [1, 3, 100] {
            let page = store.read(scope, Range { from, max_events, max_bytes: 300 }).await;
            let is_gone = match from {
                ReadFrom::After(offset) => offset + 1 < first,
                ReadFrom::Before(offset) => offset < first && first > 1,
                ReadFrom::End => false,
            };
            if is_gone {
                assert!(matches!(page, Err(Error::EventsExpired { first: named }) if named == first), "{from:?}");
                continue;
            }
            let page = page.unwrap();
            assert_eq!((page.first, page.scope_end.last), (first, last), "{from:?}");
            let mut expected: Vec<_> = whole.clone().into_iter().collect();
            expected.retain(|(offset, _)| match from {
                ReadFrom::After(after) => *offset > after,
                ReadFrom::Before(before) => *offset < before,
                ReadFrom::End => true,
            });
            let mut found = Vec::new();
            for chunk in page.chunks {
                let mut records: Vec<_> = chunk.records().map(Result::unwrap).collect();
                if from.is_descending() {
                    records.reverse();
                }
                found.extend(
                    records.into_iter().map(|(offset, bytes)| (offset, runlog::codec::record::decode(bytes).unwrap())),
                );
            }
            if from.is_descending() {
                expected.reverse();
            }
            assert!(!found.is_empty() || expected.is_empty(), "{from:?}");
            assert_eq!(found, expected[..found.len()], "{from:?}");
        }
    }
}

fn removals(events: &BTreeMap<u64, Event>) -> Vec<Option<Removal>> {
    events.values().map(|event| event.removal).collect()
}

pub async fn events_older_than_they_are_kept_are_gone_and_the_first_one_is_named(fixture: impl Fixture) {
    let store = fixture.open(tuning(4)).await.0;
    fill(&store, &["r", "other"], 0..20).await;
    assert_eq!(pass(&store, &keeping(hours(5)), at(20)).await, 30);
    let is_right = async |store: &SharedStore| {
        assert_eq!(store.extent(&run("r")).await.unwrap().first, 16);
        assert_eq!(store.extent(&Scope::Feed).await.unwrap().first, 31);
        let row = store.run(&run_id("r")).await.unwrap();
        assert_eq!((row.first_seq, row.last_seq, row.is_held), (16, 20, false));
        for scope in [run("r"), run("other"), Scope::Feed] {
            every_page_is_right(store, &scope).await;
            assert!(kept(store, &scope).await.values().all(|event| event.removal.is_none()));
        }
    };
    is_right(&store).await;
    assert_eq!(pass(&store, &keeping(hours(5)), at(20)).await, 0, "a second pass finds nothing");
    store.close().await;
    let store = fixture.open(tuning(4)).await.0;
    is_right(&store).await;
    let appended = store.append(append("r", vec![event("next")])).await.unwrap();
    assert_eq!((seqs(&appended), store.extent(&Scope::Feed).await.unwrap().end.last), (vec![21], 41));
    assert_eq!(reason(store.extent(&run("unknown")).await), "RUN_NOT_FOUND");
}

pub async fn events_of_one_append_are_read_from_every_position_when_the_first_of_them_are_gone(fixture: impl Fixture) {
    for name in ["flushed", "in memory"] {
        let store = fixture.open(if name == "flushed" { tuning(1) } else { NEVER_FLUSHED }).await.0;
        record(&store, name, 0, vec![event("1"), event("2"), event("3")]).await;
        pass(&store, &keeping(hours(1)), at(1_000)).await;
        assert_eq!(store.extent(&run(name)).await.unwrap().first, 3, "the newest event keeps its place");
        for scope in [run(name), Scope::Feed] {
            every_page_is_right(&store, &scope).await;
        }
        store.close().await;
    }
}

pub async fn the_newest_event_keeps_its_place_when_all_others_are_gone(fixture: impl Fixture) {
    let mut store = fixture.open(NEVER_FLUSHED).await.0;
    fill(&store, &["a", "b"], 0..10).await;
    for _ in 0..2 {
        pass(&store, &keeping(hours(1)), at(1_000)).await;
        assert_eq!(store.extent(&Scope::Feed).await.unwrap().end.last, 20);
        assert_eq!(removals(&kept(&store, &run("b")).await), [Some(Removal::Expired)]);
        assert_eq!(store.run(&run_id("a")).await.unwrap().first_seq, 11);
        assert_eq!(kept(&store, &run("a")).await.len(), 0);
        for scope in [run("a"), run("b"), Scope::Feed] {
            every_page_is_right(&store, &scope).await;
        }
        store.close().await;
        store = fixture.open(NEVER_FLUSHED).await.0;
    }
    let appended = store.append(append("a", vec![event("next")])).await.unwrap();
    assert_eq!((seqs(&appended), store.extent(&Scope::Feed).await.unwrap().end.last), (vec![11], 21));
    pass(&store, &keeping(hours(1)), at(1_000)).await;
    assert_eq!(store.run(&run_id("b")).await.unwrap().first_seq, 11);
    for scope in [run("a"), run("b"), Scope::Feed] {
        every_page_is_right(&store, &scope).await;
    }
}

pub async fn types_are_kept_by_their_own_rule_and_leave_no_gap(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    for hour in 0..12 {
        let text = format!("{{\"n\":{hour}}}");
        record(&store, "r", hour, vec![event("kept"), typed("step.progress", &text), typed("step.progress", &text)])
            .await;
    }
    let before = kept(&store, &run("r")).await;
    let by_type = vec![(TypePattern::parse("types", "step.*").unwrap(), hours(2))];
    let retention = Retention { default: hours(8), by_type, ..Retention::default() };
    pass(&store, &retention, at(6)).await;
    let after = kept(&store, &run("r")).await;
    assert_eq!(after.len(), before.len(), "the first event is kept, and so the seqs of all after it");
    for (seq, event) in &after {
        let hour = (seq - 1) / 3;
        let mut expected = before[seq].clone();
        if expected.event_type.as_str() == "step.progress" && hour < 4 {
            expected.remove(Removal::Expired);
        }
        assert_eq!(*event, expected);
    }
    pass(&store, &retention, at(12)).await;
    // All of the hours before 4 is gone, and with it the progress that lost its payload before.
    assert_eq!(store.extent(&run("r")).await.unwrap().first, 13);
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().first, 13);
    for scope in [run("r"), Scope::Feed] {
        every_page_is_right(&store, &scope).await;
    }
}

pub async fn events_are_kept_by_the_status_of_their_run(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    for hour in 0..6 {
        for (run, event_type) in [("failed", "error"), ("open", "step")] {
            record(&store, run, hour, vec![typed(event_type, "{\"message\":\"m\"}")]).await;
        }
    }
    let by_status = vec![(RunStatus::Failed, hours(100))];
    let retention = Retention { default: hours(2), by_status, ..Retention::default() };
    pass(&store, &retention, at(6)).await;
    assert_eq!(store.extent(&run("failed")).await.unwrap().first, 1);
    assert_eq!(store.extent(&run("open")).await.unwrap().first, 5);
    assert!(removals(&kept(&store, &run("failed")).await).iter().all(Option::is_none));
    // The events of the other run stay in the feed without payload, since one before them is kept.
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().first, 1);
    let removed = removals(&kept(&store, &Scope::Feed).await);
    assert_eq!(removed.iter().filter(|removal| **removal == Some(Removal::Expired)).count(), 4);
    for scope in [run("failed"), run("open"), Scope::Feed] {
        every_page_is_right(&store, &scope).await;
    }
    // The feed catches up with the runs once the longest rule has passed.
    pass(&store, &retention, at(105)).await;
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().first, 11);
    for scope in [run("failed"), run("open"), Scope::Feed] {
        every_page_is_right(&store, &scope).await;
    }
}

pub async fn a_held_run_stays_whole_while_the_feed_moves_on_and_goes_after_its_release(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    fill(&store, &["held", "r"], 0..10).await;
    let before = kept(&store, &run("held")).await;
    store.hold(&run_id("held"), true).await.unwrap();
    assert!(store.run(&run_id("held")).await.unwrap().is_held);
    pass(&store, &keeping(hours(3)), at(10)).await;
    assert_eq!(kept(&store, &run("held")).await, before);
    assert_eq!(
        (store.extent(&run("r")).await.unwrap().first, store.extent(&Scope::Feed).await.unwrap().first),
        (8, 15)
    );
    store.close().await;
    let store = fixture.open(tuning(3)).await.0;
    assert_eq!(kept(&store, &run("held")).await, before);
    for scope in [run("held"), run("r"), Scope::Feed] {
        every_page_is_right(&store, &scope).await;
    }
    let appended = store.append(append("held", vec![event("next")])).await.unwrap();
    assert_eq!(seqs(&appended), [11]);
    // A hold that has just failed may keep the project locked for a moment longer.
    let releases = async || loop {
        let slice = store.expire(&keeping(hours(3)), at(10), 21).await.unwrap();
        match slice.is_elsewhere {
            true => tokio::task::yield_now().await,
            false => break slice.releases,
        }
    };
    let before = releases().await;
    store.hold(&run_id("held"), false).await.unwrap();
    let released = releases().await;
    assert_ne!(released, before, "retention begins again");
    store.hold(&run_id("held"), false).await.unwrap();
    assert_eq!(reason(store.hold(&run_id("unknown"), false).await), "RUN_NOT_FOUND");
    assert_eq!(releases().await, released, "nothing was released");
    assert!(!store.run(&run_id("held")).await.unwrap().is_held);
    pass(&store, &keeping(hours(3)), at(10)).await;
    assert_eq!(store.extent(&run("held")).await.unwrap().first, 8);
    for scope in [run("held"), run("r"), Scope::Feed] {
        every_page_is_right(&store, &scope).await;
    }
    assert_eq!(reason(store.hold(&run_id("unknown"), true).await), "RUN_NOT_FOUND");
}

pub async fn the_removal_of_events_that_have_lost_their_payload_before_is_work(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    fill(&store, &["r"], 0..6).await;
    assert_eq!(store.erase(&run_id("r"), 1..=6).await.unwrap(), 6);
    let slice = async || store.expire(&keeping(hours(1)), at(10), 0).await.unwrap();
    let first = slice().await;
    assert_eq!((first.events, first.is_changed), (0, true), "{first:?}");
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().first, 6);
    for _ in 0..3 {
        let again = slice().await;
        assert_eq!((again.events, again.is_changed), (0, false), "{again:?}");
    }
}

pub async fn the_oldest_events_go_while_a_project_holds_too_many_bytes(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    let text = "x".repeat(10_000);
    record(&store, "held", 0, vec![event(&text)]).await;
    store.hold(&run_id("held"), true).await.unwrap();
    for hour in 1..=40 {
        record(&store, "r", hour, vec![event(&text)]).await;
    }
    let retention = |bytes| Retention { max_bytes: Some(bytes), ..Retention::default() };
    assert_eq!(pass(&store, &retention(1_000_000), at(40)).await, 0);
    for max in [300_000, 150_000] {
        pass(&store, &retention(max), at(40)).await;
        let left = kept(&store, &run("r")).await.values().filter(|event| event.removal.is_none()).count() as u64;
        let expected = max / 10_000;
        assert!((expected - 4..=expected).contains(&left), "{left} events of 10,000 bytes are left of {max} bytes");
        assert_eq!(kept(&store, &run("held")).await[&1].payload.as_str().len(), text.len() + 11);
        for scope in [run("held"), run("r"), Scope::Feed] {
            every_page_is_right(&store, &scope).await;
        }
    }
    // New events count, too, and push out older ones: no pass from the beginning is needed.
    let after = store.extent(&Scope::Feed).await.unwrap().end.last;
    for hour in 41..=60 {
        record(&store, "r", hour, vec![event(&text)]).await;
    }
    let mut at_position = after;
    for _ in 0..1_000 {
        let expired = store.expire(&retention(150_000), at(60), at_position).await.unwrap();
        at_position = expired.examined;
        if expired.is_done {
            break;
        }
    }
    let left = kept(&store, &run("r")).await.values().filter(|event| event.removal.is_none()).count();
    assert!((10..=15).contains(&left), "{left}");
}

pub async fn a_repeat_of_an_expired_event_is_a_duplicate_while_its_seq_is_kept_and_new_afterwards(
    fixture: impl Fixture,
) {
    let name = "r";
    let mut store = fixture.open(tuning(2)).await.0;
    let id = |n: u64| format!("{name}-{n}");
    record(&store, name, 0, vec![with_id(&id(1), event("first"))]).await;
    record(&store, name, 0, vec![with_id(&id(2), typed("step.progress", "{\"a\":1}"))]).await;
    record(&store, name, 9, vec![with_id(&id(3), event("last"))]).await;
    let by_type = vec![(TypePattern::parse("types", "step.*").unwrap(), hours(1))];
    let retention = Retention { default: hours(5), by_type, ..Retention::default() };
    pass(&store, &retention, at(4)).await;
    let found = store.find_event(Some(&run_id(name)), &EventId::parse(&id(2)).unwrap()).await.unwrap();
    assert_eq!((found.seq, found.removal, found.payload.as_str()), (2, Some(Removal::Expired), "{}"));
    for content in ["{\"a\":1}", "{\"a\":2}"] {
        let again = vec![with_id(&id(2), typed("step.progress", content))];
        let again = store.append(append(name, again)).await.unwrap();
        assert_eq!((seqs(&again), duplicates(&again)), (vec![2], vec![true]), "the payload does not come back");
    }
    assert_eq!(kept(&store, &run(name)).await[&2].payload.as_str(), "{}");
    pass(&store, &retention, at(10)).await;
    store.close().await;
    store = fixture.open(tuning(2)).await.0;
    for gone in [1, 2] {
        let event_id = EventId::parse(&id(gone)).unwrap();
        assert_eq!(reason(store.find_event(None, &event_id).await), "EVENT_NOT_FOUND");
        let new = store.append(append(name, vec![with_id(&id(gone), event("new"))])).await.unwrap();
        assert_eq!((seqs(&new), duplicates(&new)), (vec![3 + gone], vec![false]));
        assert_eq!(store.find_event(None, &event_id).await.unwrap().seq, 3 + gone);
    }
}

pub async fn an_import_of_a_run_that_has_lost_its_first_events_begins_with_their_seq(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    let recorded = |first_seq| Some(Box::new(Recorded { at: vec![at(1); 2], import: Import::default(), first_seq }));
    let new = || vec![event("a"), event("b")];
    let refused = Append { recorded: recorded(Some(0)), ..append("r", new()) };
    assert_eq!(reason(store.append(refused).await), "INVALID_FIELD");
    let first = Append { recorded: recorded(Some(7)), ..expecting(0, append("r", new())) };
    assert_eq!(seqs(&store.append(first).await.unwrap()), [7, 8]);
    let next = Append { recorded: recorded(Some(7)), ..expecting(8, append("r", new())) };
    assert_eq!(seqs(&store.append(next).await.unwrap()), [9, 10], "only a run that does not exist begins so");
    for reopened in [false, true] {
        let store = if reopened {
            store.close().await;
            fixture.open(tuning(3)).await.0
        } else {
            Arc::clone(&store)
        };
        let row = store.run(&run_id("r")).await.unwrap();
        assert_eq!((row.first_seq, row.last_seq), (7, 10));
        for scope in [run("r"), Scope::Feed] {
            every_page_is_right(&store, &scope).await;
        }
    }
}

pub async fn each_project_is_kept_by_its_own_rules(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    let id = runlog::domain::ProjectId::parse("beside").unwrap();
    let beside = store.in_project(store.create_project(&id).await.unwrap());
    fill(&store, &["r"], 0..10).await;
    fill(&beside, &["r"], 0..10).await;
    assert_eq!(pass(&beside, &keeping(hours(3)), at(10)).await, 7);
    assert_eq!(
        (beside.extent(&Scope::Feed).await.unwrap().first, store.extent(&Scope::Feed).await.unwrap().first),
        (8, 1)
    );
    for store in [&store, &beside] {
        for scope in [run("r"), Scope::Feed] {
            every_page_is_right(store, &scope).await;
        }
    }
}

/// Counts removals.
#[derive(Default)]
struct Removed(AtomicU64);

impl CommitListener for Removed {
    fn committed(&self, _commit: Commit) {}

    fn removed(&self, _project: ProjectNumber) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub async fn the_listener_hears_of_what_is_removed_before_the_caller(fixture: impl Fixture) {
    let listener = Arc::new(Removed::default());
    let store = fixture.store(tuning(3), listener.clone()).await;
    fill(&store, &["r"], 0..10).await;
    assert_eq!(pass(&store, &keeping(hours(30)), at(10)).await, 0);
    assert_eq!(listener.0.load(Ordering::Relaxed), 0);
    assert!(pass(&store, &keeping(hours(3)), at(10)).await > 0);
    assert!(listener.0.load(Ordering::Relaxed) > 0);
}

/// Runs of the publishers, and appends of each.
const RUNS: [&str; 3] = ["p", "q", "s"];
const APPENDS: u64 = 120;

pub async fn readers_at_every_position_see_no_gap_and_no_damage_while_retention_runs(fixture: impl Fixture) {
    let store = fixture.open(tuning(9)).await.0;
    let is_over = Arc::new(AtomicBool::new(false));
    let hour = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for reader in 0..4_u64 {
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        readers.push(tokio::spawn(async move {
            let (mut pages, mut turn) = (0, reader);
            while !is_over.load(Ordering::Relaxed) || pages < 50 {
                turn += 1;
                let scope = [Scope::Feed, run("p"), run("q"), run("s")][(turn % 4) as usize].clone();
                pages += u64::from(read_somewhere(&store, &scope, turn).await);
                tokio::task::yield_now().await;
            }
            pages
        }));
    }
    let mut publishers = Vec::new();
    for name in RUNS {
        let (store, hour) = (Arc::clone(&store), Arc::clone(&hour));
        publishers.push(tokio::spawn(async move {
            for n in 0..APPENDS {
                let progress = format!("{{\"run\":\"{name}\",\"n\":{n}}}");
                let events = vec![event(&format!("{name}-{n}")), typed("step.progress", &progress)];
                record(&store, name, n, events).await;
                hour.fetch_max(n, Ordering::Relaxed);
            }
        }));
    }
    let by_type = vec![(TypePattern::parse("types", "step.*").unwrap(), hours(3))];
    let retention = Retention { default: hours(20), by_type, ..Retention::default() };
    let mut removed = 0;
    while !publishers.iter().all(tokio::task::JoinHandle::is_finished) {
        removed += pass(&store, &retention, at(hour.load(Ordering::Relaxed))).await;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    removed += pass(&store, &retention, at(APPENDS)).await;
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() >= 50);
    }
    assert!(removed > APPENDS * 4, "{removed}");
    for name in RUNS {
        assert_eq!(store.extent(&run(name)).await.unwrap().first, 2 * (APPENDS - 20) + 1);
        every_page_is_right(&store, &run(name)).await;
    }
    every_page_is_right(&store, &Scope::Feed).await;
}

/// Reads a page and checks its order and its payloads. Returns whether there was a page.
async fn read_somewhere(store: &SharedStore, scope: &Scope, turn: u64) -> bool {
    let Ok(extent) = store.extent(scope).await else { return false };
    let offset = (turn * 7_919) % (extent.end.last + 2);
    let from = beyond(offset, turn.is_multiple_of(3));
    let page = match store.read(scope, Range { from, max_events: 40, max_bytes: 2_000 }).await {
        Err(Error::EventsExpired { first }) => {
            assert!(first > offset, "{first} is named for {from:?}");
            return false;
        }
        page => page.unwrap(),
    };
    let mut next = None;
    for chunk in page.chunks {
        let is_next = match next {
            Some(next) if from.is_descending() => chunk.last() + 1 == next,
            Some(next) => chunk.first == next,
            None => true,
        };
        assert!(is_next, "a gap at {} of {scope:?}", chunk.first);
        next = Some(if from.is_descending() { chunk.first } else { chunk.last() + 1 });
        for (offset, bytes) in chunk.records().map(Result::unwrap) {
            let event = runlog::codec::record::decode(bytes).unwrap();
            assert!(*scope == Scope::Feed || event.seq == offset);
            let (name, n) = (event.run_id.as_str(), (event.seq - 1) / 2);
            let expected = match (event.removal, event.seq % 2) {
                (Some(_), _) => "{}".to_owned(),
                (None, 1) => format!("{{\"text\":\"{name}-{n}\"}}"),
                (None, _) => format!("{{\"run\":\"{name}\",\"n\":{n}}}"),
            };
            assert_eq!(event.payload.as_str(), expected);
        }
    }
    true
}

pub async fn deltas_become_one_event_or_none_of_them_changes(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    for n in 0..6 {
        let delta = typed("step.progress", &format!("{{\"content_delta\":\"{n}\"}}"));
        store.append(append("r", vec![event("beside"), delta])).await.unwrap();
    }
    let before = kept(&store, &run("r")).await;
    let joined = || typed("step.progress", "{\"content_delta\":\"012345\"}").payload;
    assert_eq!(reason(store.compact(&run_id("unknown"), &[1], 2, joined()).await), "RUN_NOT_FOUND");
    for past in [[2, 4], [2, 14]] {
        let last = if past[1] == 4 { 20 } else { 12 };
        assert!(!store.compact(&run_id("r"), &past, last, joined()).await.unwrap());
    }
    assert_eq!(kept(&store, &run("r")).await, before);
    assert!(store.compact(&run_id("r"), &[10, 8, 6, 4, 2], 12, joined()).await.unwrap());
    let after = kept(&store, &run("r")).await;
    for (seq, event) in &after {
        let mut expected = before[seq].clone();
        match seq {
            12 => expected.join(joined(), 2),
            seq if seq % 2 == 0 => expected.remove(Removal::Compacted),
            _ => {}
        }
        assert_eq!(*event, expected);
    }
    for (removed, last) in [([10], 12), ([11], 10)] {
        assert!(!store.compact(&run_id("r"), &removed, last, joined()).await.unwrap(), "one is removed already");
    }
    store.close().await;
    let store = fixture.open(tuning(3)).await.0;
    assert_eq!(kept(&store, &run("r")).await, after);
    for scope in [run("r"), Scope::Feed] {
        every_page_is_right(&store, &scope).await;
    }
}
