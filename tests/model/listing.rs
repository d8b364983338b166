//! Pages: a walk finds each event once, in order, for any page size and any limit in bytes.

use runlog::codec::record;
use runlog::domain::{Cursor, Event, EventFilter, Result, Scope};
use runlog::service::list::ListEvents;
use runlog::store::SharedStore;

use crate::ops::ScopeSpec;
use crate::oracle::{self, Oracle};
use crate::server::{Server, guarded};
use crate::world::Seen;

/// A walk from a cursor to the end.
pub struct Walk {
    pub scope: ScopeSpec,
    pub filter: u8,
    pub descending: bool,
    pub page_size: usize,
    /// The cursor and its offset.
    pub from: Option<(String, u64)>,
}

/// Result of a walk: the events, and the cursors of all pages.
pub struct Found {
    pub events: Vec<Event>,
    pub cursors: Vec<Seen>,
}

pub fn offset(store: &SharedStore, scope: &Scope, cursor: &str) -> u64 {
    Cursor::parse(cursor, scope, &store.history()).expect("a cursor that the server gave").0
}

/// Reads page after page until the last page. Fails if the first page is refused.
pub async fn walk(server: &Server, walk: &Walk) -> Result<Found> {
    let scope = oracle::scope(walk.scope);
    let mut found = Found { events: Vec::new(), cursors: Vec::new() };
    let mut cursor = walk.from.as_ref().map(|(cursor, _)| cursor.clone()).unwrap_or_default();
    loop {
        let request = ListEvents {
            epoch: String::new(),
            scope: scope.clone(),
            cursor: cursor.clone(),
            page_size: walk.page_size,
            descending: walk.descending,
            filter: oracle::filter(walk.filter),
        };
        let page = guarded(server.service.list_events(&request)).await?;
        assert!(page.records.len() <= walk.page_size);
        assert!(!page.has_more || page.next_cursor != cursor, "a page that moves on");
        found.events.extend(page.records.into_iter().map(|stored| record::decode(stored.bytes).unwrap()));
        cursor = page.next_cursor;
        let at = offset(&server.store, &scope, &cursor);
        found.cursors.push(Seen { scope: walk.scope, cursor: cursor.clone(), at });
        if !page.has_more {
            return Ok(found);
        }
    }
}

/// Reads the new part of the all-runs feed. Promise 4: the feed has each run's events in the order of the run, and all
/// acknowledged events.
pub async fn learn_feed(server: &Server, oracle: &mut Oracle) {
    // A page may have been read in the middle of the commit of an in-doubt publish.
    while learn_more(server, oracle).await && oracle.feed.len() < usize::try_from(oracle.end(None).0).unwrap() {}
    let (acked, handed_in) = oracle.end(None);
    assert!((acked..=handed_in).contains(&(oracle.feed.len() as u64)), "the feed has all that was acknowledged");
}

/// Reads once; returns whether the feed has grown.
async fn learn_more(server: &Server, oracle: &mut Oracle) -> bool {
    let known = oracle.feed.len() as u64;
    let from = Cursor(known).to_text(&Scope::Feed, &server.store.history());
    let all = Walk { scope: None, filter: 0, descending: false, page_size: 50, from: Some((from, known)) };
    for event in walk(server, &all).await.expect("a page").events {
        let run = (0..crate::ops::RUNS).find(|run| oracle::run_id(*run) == event.run_id).expect("a run of ours");
        let before = oracle.feed.iter().filter(|(of_run, _)| *of_run == run).count() as u64;
        assert_eq!(event.seq, before + 1, "the feed has the events of run {run} in their order");
        oracle.feed.push((run, event.seq));
        let doubt = oracle.runs[usize::from(run)].doubt.as_ref();
        if doubt.is_some_and(|doubt| event.seq > doubt.without.last()) {
            oracle.is_stored(run);
        }
        oracle.learn_erased(run, &event);
        oracle.check(None, oracle.feed.len() as u64, &event);
        oracle.learn_time(run, event.seq, event.recorded_at);
    }
    oracle.feed.len() as u64 > known
}

/// Checks a walk: exactly the events that pass the filter, in order. `acked` is the acknowledged end of the scope
/// before the walk.
pub fn check(oracle: &Oracle, walk: &Walk, acked: u64, found: &[Event]) {
    let filter = oracle::filter(walk.filter);
    // Events in flight may be missing, but only from the end.
    let (_, handed_in) = oracle.end(walk.scope);
    let known = if walk.scope.is_some() { handed_in } else { oracle.feed.len() as u64 };
    let fits = (acked..=known).any(|end| {
        let expected = offsets(oracle, walk, &filter, end);
        expected.len() == found.len() && expected.iter().zip(found).all(|(c, e)| is_at(oracle, walk.scope, *c, e))
    });
    let places: Vec<_> = found.iter().map(|event| (event.run_id.as_str(), event.seq)).collect();
    assert!(fits, "from {:?}, ends {acked} to {known}, found {places:?}", walk.from);
    let end = acked.max(known);
    for event in found {
        let at = (1..=end).find(|c| is_at(oracle, walk.scope, *c, event)).unwrap();
        oracle.check(walk.scope, at, event);
    }
}

fn offsets(oracle: &Oracle, walk: &Walk, filter: &EventFilter, end: u64) -> Vec<u64> {
    let from = walk.from.as_ref().map(|(_, at)| *at);
    let passes = |c: &u64| oracle.passes(walk.scope, filter, *c);
    let first = oracle.first(walk.scope);
    if walk.descending {
        let before = from.unwrap_or(end + 1).min(end + 1);
        (first..before).rev().filter(passes).collect()
    } else {
        (first.max(from.unwrap_or(0) + 1)..=end).filter(passes).collect()
    }
}

fn is_at(oracle: &Oracle, scope: ScopeSpec, offset: u64, event: &Event) -> bool {
    let (run, seq) = oracle.place(scope, offset);
    event.seq == seq && event.run_id == oracle::run_id(run)
}
