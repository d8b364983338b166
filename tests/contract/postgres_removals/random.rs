//! Random publishes, holds, erasures and slices of retention, compared with what each event may be.

use std::collections::{HashMap, HashSet};

use jiff::{Timestamp, ToSpan};
use runlog::codec::record;
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{Event, Removal, Scope};
use runlog::store::{Page, Range, ReadFrom, SharedStore};

use super::{is_sound, opened, options};
use crate::cluster::Database;
use crate::erase::index;
use crate::fixture::*;
use crate::rng::Rng;

const RUNS: [&str; 4] = ["a", "b", "c", "d"];

fn events_of(page: &Page) -> Vec<(u64, Event)> {
    let records = page.chunks.iter().flat_map(|chunk| chunk.records().map(Result::unwrap));
    records.map(|(offset, bytes)| (offset, record::decode(bytes).unwrap())).collect()
}

/// Reads the scope from its first event on, and every page backwards from each of its offsets.
async fn read(store: &SharedStore, scope: &Scope) -> Vec<(u64, Event)> {
    let first = store.extent(scope).await.unwrap().first;
    let range = |from| Range { from, max_events: 1_000, max_bytes: 64 << 20 };
    let page = store.read(scope, range(ReadFrom::After(first - 1))).await.unwrap();
    let (events, last) = (events_of(&page), page.scope_end.last);
    let offsets: Vec<u64> = events.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (first..=last).collect::<Vec<_>>(), "{scope:?}");
    assert_eq!(page.first, first);
    for before in first.saturating_sub(2)..=last + 1 {
        let page = store.read(scope, range(ReadFrom::Before(before))).await;
        if before < first {
            assert!(first == 1 || reason(page) == "CURSOR_EXPIRED");
            continue;
        }
        let page = page.unwrap();
        let mut read: Vec<u64> = events_of(&page).iter().map(|(offset, _)| *offset).collect();
        read.sort_unstable();
        assert_eq!(read, (first..before).collect::<Vec<_>>(), "{scope:?} before {before}");
    }
    for after in 0..first.saturating_sub(1) {
        assert_eq!(reason(store.read(scope, range(ReadFrom::After(after))).await), "CURSOR_EXPIRED");
    }
    events
}

fn retention(rng: &mut Rng) -> Retention {
    let keep = |rng: &mut Rng| match rng.within(0..4) {
        0 => Keep::Forever,
        days => Keep::For(std::time::Duration::from_secs(days * 86_400)),
    };
    let pattern = runlog::domain::filter::TypePattern::parse("", "step").unwrap();
    let by_type = if rng.within(0..2) == 0 { vec![(pattern, keep(rng))] } else { Vec::new() };
    let max_bytes = (rng.within(0..4) == 0).then(|| rng.within(0..20_000));
    Retention { default: keep(rng), by_type, max_bytes, ..Retention::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_removed_in_whatever_order_the_rest_reads_without_a_gap() {
    let mut rng = Rng::new("random removals");
    for _ in 0..6 {
        let Some(database) = Database::create().await else { return };
        let (store, _) = opened(options(&database)).await;
        // Payload of each event by run and seq, and the runs that are held.
        let mut sent: HashMap<(&str, u64), String> = HashMap::new();
        let mut held: HashSet<&str> = HashSet::new();
        for _ in 0..40 {
            let run = RUNS[index(&mut rng, 4)];
            let exists = sent.contains_key(&(run, 1));
            match rng.within(0..8) {
                0..4 => {
                    let texts: Vec<String> =
                        (0..1 + rng.within(0..6)).map(|n| format!("{run} {n} {}", sent.len())).collect();
                    let kind = |rng: &mut Rng| ["step", "tool_call"][index(rng, 2)];
                    let new =
                        texts.iter().map(|text| typed(kind(&mut rng), &format!("{{\"text\":\"{text}\"}}"))).collect();
                    let stored = store.append(append(run, new)).await.unwrap();
                    for (event, text) in stored.events.iter().zip(texts) {
                        sent.insert((run, event.seq), format!("{{\"text\":\"{text}\"}}"));
                    }
                }
                4 if exists => {
                    let is_held = rng.within(0..2) == 0;
                    store.hold(&run_id(run), is_held).await.unwrap();
                    if is_held {
                        held.insert(run);
                    }
                    if !is_held {
                        held.remove(run);
                    }
                }
                5 if exists => {
                    let from = 1 + rng.within(0..20);
                    store.erase(&run_id(run), from..=from + rng.within(0..4)).await.unwrap();
                }
                6.. => {
                    let (retention, now) =
                        (retention(&mut rng), Timestamp::now() + (24 * rng.within(0..5).cast_signed()).hours());
                    let before = held_events(&store, &held).await;
                    super::expire(&store, &retention, now).await;
                    assert_eq!(held_events(&store, &held).await, before, "held runs stay");
                }
                _ => continue,
            }
            check(&store, &sent).await;
        }
        is_sound(&database).await;
        store.close().await;
    }
}

/// All events of the held runs.
async fn held_events(store: &SharedStore, held: &HashSet<&str>) -> Vec<Vec<(u64, Event)>> {
    let mut all = Vec::new();
    for name in RUNS.iter().filter(|name| held.contains(*name)) {
        all.push(read(store, &run(name)).await);
    }
    all
}

/// Every event that is kept is as it was sent, or says that its payload is gone.
async fn check(store: &SharedStore, sent: &HashMap<(&str, u64), String>) {
    let is_right = |event: &Event| match event.removal {
        None => sent[&(event.run_id.as_str(), event.seq)] == event.payload.as_str(),
        Some(_) => event.payload.as_str() == Removal::PAYLOAD,
    };
    assert!(read(store, &Scope::Feed).await.iter().all(|(_, event)| is_right(event)));
    for name in RUNS.iter().filter(|name| sent.contains_key(&(**name, 1))) {
        let last = store.run(&run_id(name)).await.unwrap().last_seq;
        assert_eq!(last, sent.keys().filter(|(run, _)| run == name).count() as u64);
        assert!(read(store, &run(name)).await.iter().all(|(seq, event)| *seq == event.seq && is_right(event)));
    }
}
