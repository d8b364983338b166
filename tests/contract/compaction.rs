//! Compaction of deltas: the event with the joined text says from which seq on, and a producer may still repeat each of them.

use std::sync::Arc;

use runlog::domain::{Event, NewEvent, Removal, Scope};
use runlog::store::{Condition, SharedStore};

use crate::fixture::*;

fn delta(text: &str) -> NewEvent {
    typed("step.progress", &format!("{{\"content_delta\":\"{text}\"}}"))
}

/// Appends a delta for each of these ids, with the id as its text.
async fn fill(store: &SharedStore, ids: &[&str]) {
    for id in ids {
        store.append(append("r", vec![with_id(id, delta(id))])).await.unwrap();
    }
}

async fn compact(store: &SharedStore, removed: &[u64], last: u64, text: &str) {
    assert!(store.compact(&run_id("r"), removed, last, delta(text).payload).await.unwrap());
}

fn marks(events: &[Event]) -> Vec<(Option<Removal>, Option<u64>)> {
    events.iter().map(|event| (event.removal, event.joined_from)).collect()
}

pub async fn a_joined_event_names_the_first_of_all_events_that_were_joined_in_several_steps(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(tuning(3)).await;
    fill(&store, &["a", "b", "c", "d", "e", "f", "g"]).await;
    let (gone, kept) = ((Some(Removal::Compacted), None), (None, None));
    compact(&store, &[6, 5], 7, "efg").await;
    compact(&store, &[3, 2], 4, "bcd").await;
    let halves = [kept, gone, gone, (None, Some(2)), gone, gone, (None, Some(5))];
    assert_eq!(marks(&events(&store, &run("r")).await), halves);
    compact(&store, &[4], 7, "bcdefg").await;
    let whole = [kept, gone, gone, gone, gone, gone, (None, Some(2))];
    let after = events(&store, &run("r")).await;
    assert_eq!(marks(&after), whole);
    assert!(!recorder.removals().is_empty());
    store.close().await;
    let store = fixture.open(tuning(3)).await.0;
    assert_eq!(events(&store, &run("r")).await, after);
    assert_eq!(events(&store, &Scope::Feed).await, after);
    assert!(store.scrub(0).await.unwrap().damaged.is_empty());
    store.erase(&run_id("r"), 7..=7).await.unwrap();
    assert_eq!(marks(&events(&store, &run("r")).await)[6], (Some(Removal::Erased), None), "there is no text any more");
}

pub async fn a_repeat_of_a_joined_or_compacted_event_is_a_duplicate_whatever_its_content(fixture: impl Fixture) {
    let store = fixture.open(tuning(2)).await.0;
    fill(&store, &["a", "b", "c", "d"]).await;
    let assigned = store.append(append("r", vec![delta("e")])).await.unwrap().events[0].event_id.to_string();
    fill(&store, &["f"]).await;
    compact(&store, &[2, 1], 3, "abc").await;
    compact(&store, &[4], 5, "de").await;
    let stored = events(&store, &run("r")).await;
    for reopened in [false, true] {
        let store = if reopened { fixture.open(tuning(2)).await.0 } else { Arc::clone(&store) };
        for (id, seq) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), (assigned.as_str(), 5)] {
            for text in [id, "abc", "another text"] {
                let again = store.append(append("r", vec![with_id(id, delta(text))])).await.unwrap();
                assert_eq!((seqs(&again), duplicates(&again)), (vec![seq], vec![true]), "{id} {text}");
            }
        }
        let repeat = runlog::store::Append {
            condition: Some(Condition::OnlyRepeat),
            ..append("r", vec![with_id("c", delta("c"))])
        };
        assert_eq!(duplicates(&store.append(repeat).await.unwrap()), [true]);
        let other = store.append(append("r", vec![with_id("f", delta("another text"))])).await;
        assert_eq!(reason(other), "EVENT_ID_CONFLICT", "what is as sent is compared");
        assert_eq!(events(&store, &run("r")).await, stored, "nothing comes back");
        store.close().await;
    }
}
