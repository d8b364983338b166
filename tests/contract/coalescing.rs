//! The wait of deltas for further deltas: promises 1 and 2, and the bounds of the wait.

use std::time::Duration;

use futures_util::FutureExt;
use runlog::domain::NewEvent;
use runlog::store::{Receipt, SharedStore};

use crate::fixture::*;

/// A wait that only something else than time can end.
const ENDLESS: Tuning = coalescing(Duration::from_secs(3_600));

const fn coalescing(coalesce_deltas: Duration) -> Tuning {
    Tuning { coalesce_deltas, ..NEVER_FLUSHED }
}

fn delta(n: usize) -> NewEvent {
    typed("step.progress", &format!("{{\"content_delta\":\"{n}\"}}"))
}

async fn submit_deltas(store: &SharedStore, count: usize) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for n in 1..=count {
        receipts.push(store.submit(append("r", vec![delta(n)])).await.unwrap());
    }
    receipts
}

async fn stored(receipts: Vec<Receipt>) -> Vec<u64> {
    let mut seqs = Vec::new();
    for receipt in receipts {
        seqs.push(receipt.stored().await.unwrap().last_seq);
    }
    seqs
}

pub async fn waiting_deltas_are_one_commit_with_the_append_that_ends_their_wait(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(ENDLESS).await;
    for (round, end) in [
        append("r", vec![typed("step.done", "{}")]),
        append("other", vec![event("x")]),
        append("r", vec![delta(4), typed("step.done", "{}")]),
        expecting(15, append("r", vec![delta(4)])),
    ]
    .into_iter()
    .enumerate()
    {
        let before = recorder.commits().len();
        let mut waiting = Vec::new();
        for receipt in submit_deltas(&store, 3).await {
            waiting.push(Box::pin(receipt.stored()));
        }
        assert!(waiting.iter_mut().all(|receipt| receipt.now_or_never().is_none()), "they are not answered");
        assert_eq!(recorder.commits().len(), before, "and not stored");
        let ends = store.append(end).await.unwrap();
        let mut seqs = Vec::new();
        for receipt in waiting {
            seqs.push(receipt.await.unwrap().last_seq);
        }
        let commits = recorder.commits().split_off(before);
        assert_eq!(commits.len(), 1, "round {round}: one commit");
        let run = commits[0].runs.iter().find(|of| of.run_id == run_id("r")).unwrap();
        assert_eq!(run.chunks.len(), 1, "round {round}: what readers get is in one piece");
        assert_eq!(seqs, (run.chunks[0].first..).take(3).collect::<Vec<_>>(), "each delta has a seq of its own");
        assert!(round == 1 || ends.events[0].seq == seqs[2] + 1, "round {round}: the end follows what came before it");
    }
    let types: Vec<String> =
        events(&store, &run("r")).await.iter().map(|event| event.event_type.as_str().to_owned()).collect();
    let rounds: [&[&str]; 4] = [&["step.done"], &[], &["step.progress", "step.done"], &["step.progress"]];
    let expected: Vec<&str> = rounds.iter().flat_map(|end| [&["step.progress"; 3][..], end].concat()).collect();
    assert_eq!(types, expected);
}

pub async fn deltas_that_nothing_follows_are_stored_after_their_wait(fixture: impl Fixture) {
    let store = fixture.open(coalescing(Duration::from_millis(50))).await.0;
    let receipts = submit_deltas(&store, 20).await;
    assert_eq!(stored(receipts).await, (1..=20).collect::<Vec<_>>());
    assert_eq!(events(&store, &run("r")).await.len(), 20);
}

pub async fn a_store_that_closes_stores_waiting_deltas(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(ENDLESS).await;
    let receipts = submit_deltas(&store, 5).await;
    store.close().await;
    assert_eq!(stored(receipts).await, [1, 2, 3, 4, 5]);
    assert_eq!(recorder.commits().len(), 1);
    drop(store);
    assert_eq!(events(&fixture.opened().await, &run("r")).await.len(), 5);
}

pub async fn a_queue_full_of_deltas_makes_room_at_once(fixture: impl Fixture) {
    let full = Tuning { queue_events: 4, queue_bytes: 1 << 20, ..ENDLESS };
    let store = fixture.open(full).await.0;
    let receipts = submit_deltas(&store, 13).await;
    // The last one waits alone, and the room that it leaves is enough.
    let end = store.append(append("r", vec![typed("step.done", "{}")])).await.unwrap();
    assert_eq!((stored(receipts).await, end.last_seq), ((1..=13).collect::<Vec<_>>(), 14));
}
