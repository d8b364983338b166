//! Promises 2 and 5: pages from every offset, in both directions, from the indexes and from memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use runlog::codec::record;
use runlog::domain::Scope;
use runlog::store::{Page, Range, ReadFrom, SharedStore};

use crate::fixture::*;

pub async fn every_page_of_a_flushed_run_is_right(fixture: impl Fixture) {
    let store = fixture.open(ALWAYS_FLUSHED).await.0;
    fill(&store, 0).await;
    every_page_is_right(&store, &run("r")).await;
}

pub async fn every_page_of_an_unflushed_run_is_right(fixture: impl Fixture) {
    let store = fixture.open(NEVER_FLUSHED).await.0;
    fill(&store, 0).await;
    every_page_is_right(&store, &run("r")).await;
}

pub async fn every_page_of_a_half_flushed_run_is_right(fixture: impl Fixture) {
    let store = fixture.open(ALWAYS_FLUSHED).await.0;
    fill(&store, 0).await;
    store.close().await;
    let store = fixture.open(NEVER_FLUSHED).await.0;
    fill(&store, 1).await;
    every_page_is_right(&store, &run("r")).await;
    store.close().await;
    every_page_is_right(&fixture.open(NEVER_FLUSHED).await.0, &run("r")).await;
}

pub async fn every_page_of_the_feed_is_right(fixture: impl Fixture) {
    let store = fixture.open(tuning(4)).await.0;
    fill(&store, 0).await;
    every_page_is_right(&store, &Scope::Feed).await;
}

/// Batches of one to four events, with another run between them.
async fn fill(store: &SharedStore, salt: usize) {
    for batch in 0..6 {
        let events = (0..=(batch + salt) % 4).map(|n| event(&"x".repeat(n * 40))).collect();
        store.append(append("r", events)).await.unwrap();
        store.append(append("other", vec![event("o")])).await.unwrap();
    }
}

/// Compares every possible page with the list of all events of the scope.
async fn every_page_is_right(store: &SharedStore, scope: &Scope) {
    let whole = all(store, scope).await;
    let last = whole.len() as u64;
    assert!(whole.iter().map(|(offset, _)| *offset).eq(1..=last));
    let offsets = || (0..=last + 2).chain([i64::MAX as u64, u64::MAX]);
    let starts = offsets().map(ReadFrom::After).chain(offsets().map(ReadFrom::Before)).chain([ReadFrom::End]);
    for from in starts {
        for max_events in (1..=whole.len() + 1).chain([usize::MAX]) {
            for max_bytes in [0, 150, 400, usize::MAX] {
                let range = Range { from, max_events, max_bytes };
                page_is_right(store.read(scope, range).await.unwrap(), range, &whole);
            }
        }
    }
}

fn page_is_right(page: Page, range: Range, whole: &[(u64, Bytes)]) {
    assert_eq!(page.scope_end.last, whole.len() as u64, "{range:?}");
    let mut expected: Vec<_> = whole.to_vec();
    if range.from.is_descending() {
        expected.reverse();
    }
    expected.retain(|(at, _)| match range.from {
        ReadFrom::After(offset) => *at > offset,
        ReadFrom::Before(offset) => *at < offset,
        ReadFrom::End => true,
    });
    let mut found = Vec::new();
    let mut sizes = Vec::new();
    for chunk in &page.chunks {
        let mut records: Vec<_> = chunk.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), chunk.count as usize, "{range:?}");
        sizes.push(chunk.data.len());
        if range.from.is_descending() {
            records.reverse();
        }
        found.extend(records);
    }
    assert!(found.len() <= range.max_events, "{range:?}");
    assert_eq!(found, expected[..found.len()], "{range:?}");
    if range.max_bytes == usize::MAX {
        assert_eq!(found.len(), expected.len().min(range.max_events), "{range:?}");
    } else {
        assert!(!found.is_empty() || expected.is_empty(), "one event is always returned: {range:?}");
        let but_last: usize = sizes.iter().rev().skip(1).sum();
        assert!(but_last <= range.max_bytes, "{range:?}");
    }
}

pub async fn random_logs_read_as_they_were_written<B: Fixture>(_fixture: B) {
    // (run, events, bytes of each payload) for each append, the flush interval, and a range to read.
    let appends = prop::collection::vec((0..4_u8, 1..5_usize, 0..200_usize), 1..25);
    let range = (0..60_u64, any::<bool>(), 1..40_usize, 0..3_000_usize);
    let cases = (appends, 1..30_usize, prop::collection::vec(range, 30), any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let runtime = tokio::runtime::Handle::current();
    let test = move || {
        runner.run(&cases, |(appends, flush_every, ranges, reopen)| {
            runtime.block_on(async {
                let fixture = B::new().await.unwrap();
                let mut store = fixture.open(tuning(flush_every)).await.0;
                let mut written: Vec<(u8, String)> = Vec::new();
                for (run, events, bytes) in appends {
                    let texts: Vec<_> = (0..events).map(|n| format!("{}{}", "x".repeat(bytes), n)).collect();
                    let batch = texts.iter().map(|text| event(text)).collect();
                    store.append(append(&run.to_string(), batch)).await.unwrap();
                    written.extend(texts.iter().map(|text| (run, event(text).payload.as_str().to_owned())));
                }
                if reopen {
                    store.close().await;
                    store = fixture.open(tuning(flush_every)).await.0;
                }
                let feed = events(&store, &Scope::Feed).await;
                let read = feed.iter().map(|event| (event.run_id.as_str(), event.payload.as_str().to_owned()));
                assert!(read.eq(written.iter().map(|(run, text)| (["0", "1", "2", "3"][*run as usize], text.clone()))));
                for (from, descending, max_events, max_bytes) in ranges {
                    let range = Range { from: beyond(from, descending), max_events, max_bytes };
                    let run_of_range = format!("{}", from % 4);
                    for scope in [Scope::Feed, run(&run_of_range)] {
                        let whole: Vec<_> = feed
                            .iter()
                            .filter(|event| scope == Scope::Feed || event.run_id.as_str() == run_of_range)
                            .collect();
                        match store.read(&scope, range).await {
                            Ok(page) => {
                                let records = all(&store, &scope).await;
                                assert_eq!(records.len(), whole.len());
                                let same = |((_, bytes), event): (&(u64, Bytes), &&runlog::domain::Event)| {
                                    record::decode(bytes.clone()).unwrap() == **event
                                };
                                assert!(records.iter().zip(&whole).all(same));
                                page_is_right(page, range, &records);
                            }
                            Err(error) => assert_eq!((error.reason(), whole.len()), ("RUN_NOT_FOUND", 0)),
                        }
                    }
                }
                store.close().await;
            });
            Ok(())
        })
    };
    tokio::task::spawn_blocking(test).await.unwrap().unwrap();
}

pub async fn a_page_reaches_the_scope_end_that_it_reports(fixture: impl Fixture) {
    let store = fixture.open(tuning(40)).await.0;
    store.append(append("r", vec![event("x")])).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for descending in [false, true] {
        let (store, done) = (store.clone(), done.clone());
        readers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                for scope in [run("r"), Scope::Feed] {
                    let scope_end = store.extent(&scope).await.unwrap().end.last;
                    let from = if descending { ReadFrom::End } else { ReadFrom::After(scope_end.saturating_sub(5)) };
                    let range = Range { from, max_events: 2_000, max_bytes: 1 << 20 };
                    let page = store.read(&scope, range).await.unwrap();
                    let last = page.chunks.iter().map(|chunk| chunk.last()).max().unwrap();
                    assert!(
                        page.scope_end.last >= scope_end && last >= page.scope_end.last,
                        "{last} < {:?}, {descending}",
                        page.scope_end
                    );
                }
            }
        });
    }
    for _ in 0..600 {
        store.append(append("r", vec![event("x"), event("y")])).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    readers.join_all().await;
}

pub async fn large_events_are_read_one_by_one(fixture: impl Fixture) {
    let store = fixture.open(tuning(4)).await.0;
    let large = typed("t", &format!("\"{}\"", "x".repeat((1 << 20) - 2)));
    for _ in 0..6 {
        store.append(append("r", vec![large.clone()])).await.unwrap();
    }
    for scope in [run("r"), Scope::Feed] {
        for from in [ReadFrom::After(0), ReadFrom::End] {
            let page = store.read(&scope, Range { from, max_events: 100, max_bytes: 1 << 20 }).await.unwrap();
            assert_eq!(page.chunks.iter().map(|chunk| chunk.count).sum::<u32>(), 1);
        }
        assert_eq!(events(&store, &scope).await.len(), 6);
    }
}

pub async fn offsets_past_every_end_are_empty_pages<B: Fixture>(fixture: B) {
    for tuning in [NEVER_FLUSHED, ALWAYS_FLUSHED] {
        let store = fixture.open(tuning).await.0;
        store.append(append("r", vec![event("x")])).await.unwrap();
        let last = store.extent(&run("r")).await.unwrap().end.last;
        for scope in [run("r"), Scope::Feed] {
            for from in [last, last + 1, i64::MAX as u64, u64::MAX] {
                assert!(store.read(&scope, ascending(from, 10)).await.unwrap().chunks.is_empty());
            }
            let before_all = Range { from: ReadFrom::Before(0), ..ascending(0, 10) };
            assert!(store.read(&scope, before_all).await.unwrap().chunks.is_empty());
        }
        store.close().await;
    }
    let empty = B::new().await.unwrap();
    let store = empty.opened().await;
    let page = store.read(&Scope::Feed, ascending(0, 10)).await.unwrap();
    assert_eq!((page.chunks.len(), page.scope_end.last), (0, 0));
}

pub async fn readers_see_no_gap_while_the_writer_flushes(fixture: impl Fixture) {
    let store = fixture.open(tuning(3)).await.0;
    let mut followers = tokio::task::JoinSet::new();
    for follower in 0..4 {
        store.append(append("r", vec![event("x")])).await.unwrap();
        let store = store.clone();
        followers.spawn(async move {
            let scope = if follower % 2 == 0 { run("r") } else { Scope::Feed };
            let mut next = 1;
            while next <= 500 {
                let page = store.read(&scope, ascending(next - 1, 1 + follower * 5)).await.unwrap();
                for chunk in page.chunks {
                    assert_eq!(chunk.first, next);
                    assert_eq!(chunk.records().count(), chunk.count as usize);
                    next = chunk.last() + 1;
                }
            }
        });
    }
    for _ in 0..250 {
        store.append(append("r", vec![event("x"), event("y")])).await.unwrap();
    }
    followers.join_all().await;
}
