//! Promise 9 and the write path: groups of appends, the commit queue, and closing a store.

use std::time::Duration;

use runlog::domain::Scope;
use runlog::domain::projection::Lifecycle;
use runlog::store::{Append, Receipt, Sequence};

use crate::fixture::*;

pub async fn a_bad_request_in_a_group_fails_alone(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    store.append(append("old", vec![with_id("a", event("1"))])).await.unwrap();
    let held = recorder.hold(&store).await;
    let requests = [
        append("r", vec![event("1"), event("2")]),
        expecting(7, append("r", vec![event("no")])),
        append("old", vec![event("no"), with_id("a", event("other"))]),
        expecting(5, append("never", vec![event("no")])),
        append("r", vec![with_id("x", event("3")), with_id("x", event("no"))]),
        expecting(2, append("r", vec![event("3")])),
        append("new", vec![event("1")]),
    ];
    let mut receipts: Vec<Receipt> = Vec::new();
    for request in requests {
        receipts.push(store.submit(request).await.unwrap());
    }
    drop(held);
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(receipt.stored().await.map(|appended| seqs(&appended)).map_err(|error| error.reason()));
    }
    assert_eq!(
        outcomes,
        [
            Ok(vec![1, 2]),
            Err("SEQ_CONFLICT"),
            Err("EVENT_ID_CONFLICT"),
            Err("SEQ_CONFLICT"),
            Err("EVENT_ID_CONFLICT"),
            Ok(vec![3]),
            Ok(vec![1])
        ]
    );
    assert_eq!(recorder.commits().len(), 3, "they were one group");
    assert_eq!(events(&store, &run("r")).await.len(), 3);
    assert_eq!(events(&store, &run("old")).await.len(), 1);
    assert_eq!(reason(store.run(&run_id("never")).await), "RUN_NOT_FOUND");
}

pub async fn what_a_strict_run_refuses_leaves_no_trace_in_its_group(fixture: impl Fixture) {
    let strict = Tuning { lifecycle: Lifecycle::Strict, ..Tuning::default() };
    let (store, recorder) = fixture.open(strict).await;
    let held = recorder.hold(&store).await;
    let ends = typed("run_end", r#"{"output":"no","total_tokens":1}"#);
    let begins_again = typed("run_start", "{}");
    let refused = vec![with_id("a", event("no")), ends.clone(), begins_again.clone()];
    let mut receipts = Vec::new();
    for events in [vec![event("1")], refused.clone(), vec![with_id("a", event("2"))], refused, vec![ends, event("4")]] {
        receipts.push(store.submit(append("r", events)).await.unwrap());
    }
    drop(held);
    let mut outcomes = Vec::new();
    for receipt in receipts {
        outcomes.push(receipt.stored().await.map(|appended| seqs(&appended)).map_err(|error| error.reason()));
    }
    let conflict = Err("EVENT_ID_CONFLICT");
    assert_eq!(outcomes, [Ok(vec![1]), Err("RUN_STATUS_FINAL"), Ok(vec![2]), conflict, Ok(vec![3, 4])]);
    assert_eq!(recorder.commits().len(), 2, "they were one group");
    assert_eq!(events(&store, &run("r")).await.len(), 4);
    let run = store.run(&run_id("r")).await.unwrap();
    assert_eq!((run.last_seq, run.usage.unwrap().total_tokens), (4, 1));
    assert_eq!(run.output_json.as_deref(), Some("\"no\""));
}

pub async fn a_repeat_in_the_same_group_is_a_duplicate(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    let mut receipts = Vec::new();
    for text in ["same", "same", "other"] {
        receipts.push(store.submit(append("r", vec![with_id("a", event(text))])).await.unwrap());
    }
    receipts.push(store.submit(append("r", vec![event("2"), with_id("a", event("same"))])).await.unwrap());
    drop(held);
    let mut outcomes = Vec::new();
    for receipt in receipts {
        let stored = receipt.stored().await.map(|appended| (seqs(&appended), duplicates(&appended)));
        outcomes.push(stored.map_err(|error| error.reason()));
    }
    let expected = [
        Ok((vec![1], vec![false])),
        Ok((vec![1], vec![true])),
        Err("EVENT_ID_CONFLICT"),
        Ok((vec![2, 1], vec![false, true])),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(events(&store, &run("r")).await.len(), 2);
}

pub async fn a_queue_that_stays_full_answers_overloaded(fixture: impl Fixture) {
    let full = Tuning { queue_events: 4, queue_bytes: 1 << 20, queue_wait: Duration::ZERO, ..Tuning::default() };
    let (store, recorder) = fixture.open(full).await;
    let held = recorder.hold(&store).await;
    let mut receipts = Vec::new();
    let refused = loop {
        match store.submit(append("r", vec![event("x")])).await {
            Ok(receipt) => receipts.push(receipt),
            Err(error) => break error,
        }
        assert!(receipts.len() <= 4, "the queue has a bound");
    };
    assert_eq!(refused.reason(), "OVERLOADED");
    assert!(refused.retry_after().is_some());
    drop(held);
    for (n, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(seqs(&receipt.stored().await.unwrap()), [n as u64 + 1]);
    }
    store.append(append("r", vec![event("room again")])).await.unwrap();
}

pub async fn a_queue_counts_events_and_not_requests(fixture: impl Fixture) {
    let full = Tuning { queue_events: 16, queue_bytes: 1 << 20, queue_wait: Duration::ZERO, ..Tuning::default() };
    let (store, recorder) = fixture.open(full).await;
    let held = recorder.hold(&store).await;
    let first = store.submit(append("r", vec![event("x"); 10])).await.unwrap();
    assert_eq!(reason(store.submit(append("r", vec![event("x"); 10])).await), "OVERLOADED");
    drop(held);
    assert_eq!(first.stored().await.unwrap().last_seq, 10);
}

pub async fn a_request_larger_than_the_queue_is_stored(fixture: impl Fixture) {
    let small = Tuning { queue_events: 4, queue_bytes: 1 << 12, ..Tuning::default() };
    let store = fixture.open(small).await.0;
    let large = typed("t", &format!("\"{}\"", "x".repeat(100_000)));
    for _ in 0..3 {
        let many = tokio::join!(
            store.append(append("r", vec![large.clone(); 10])),
            store.append(append("r", vec![event("small")])),
            store.append(append("r", vec![large.clone(); 10])),
        );
        assert!(many.0.is_ok() && many.1.is_ok() && many.2.is_ok());
    }
    assert_eq!(store.extent(&run("r")).await.unwrap().end.last, 63);
}

pub async fn small_appends_overtake_large_ones_but_not_those_of_their_run_or_sequence(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    let large = typed("t", &format!("\"{}\"", "x".repeat(300_000)));
    let sequence = Some(Sequence::begin());
    let requests = [
        append("a", vec![large.clone()]),
        Append { sequence, ..append("b", vec![large]) },
        append("c", vec![event("overtakes")]),
        append("a", vec![event("is of the run of a large one")]),
        Append { sequence, ..append("d", vec![event("is of the sequence of a large one")]) },
        append("e", vec![event("overtakes")]),
        append("d", vec![event("is of the run of one that waits for a large one")]),
    ];
    let mut receipts = Vec::new();
    for request in requests {
        receipts.push(store.submit(request).await.unwrap());
    }
    drop(held);
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    let feed = events(&store, &Scope::Feed).await;
    let runs: Vec<&str> = feed.iter().map(|event| event.run_id.as_str()).collect();
    let place = |run: &str| runs.iter().position(|of| *of == run).unwrap();
    assert_eq!(runs[..3], ["plug", "c", "e"], "{runs:?}");
    assert!(place("b") < place("d"), "{runs:?}");
    let lengths = async |of: &str| {
        let events = events(&store, &run(of)).await;
        events.iter().map(|event| event.payload.as_str().len()).collect::<Vec<_>>()
    };
    assert!(lengths("a").await.is_sorted_by(|first, second| first > second), "the large one is first");
    assert_eq!(lengths("d").await.len(), 2);
    assert_eq!(recorder.commits().len(), 3, "the small ones are a commit of their own");
}

pub async fn what_was_accepted_before_close_is_answered(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    let mut receipts = Vec::new();
    for _ in 0..100 {
        receipts.push(store.submit(append("r", vec![event("x")])).await.unwrap());
    }
    let mut closing = Box::pin(store.close());
    let begun = tokio::select! { biased; () = &mut closing => false, () = std::future::ready(()) => true };
    assert!(begun, "close waits for what was accepted");
    assert_eq!(reason(store.append(append("r", vec![event("late")])).await), "SHUTTING_DOWN");
    drop(held);
    closing.await;
    for (n, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(seqs(&receipt.stored().await.unwrap()), [n as u64 + 1]);
    }
    assert_eq!(reason(store.append(append("r", vec![event("late")])).await), "SHUTTING_DOWN");
    drop(store);
    assert_eq!(events(&fixture.opened().await, &run("r")).await.len(), 100);
}

pub async fn close_may_be_called_twice_and_at_once(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    {
        // A close that is cancelled half-way.
        let mut closing = Box::pin(store.close());
        tokio::select! { biased; () = &mut closing => {}, () = std::future::ready(()) => {} }
    }
    drop(held);
    tokio::join!(store.close(), store.close());
    assert!(store.ready().await.is_err());
    let again = fixture.opened().await;
    assert_eq!(again.extent(&run("plug")).await.unwrap().end.last, 1);
}

pub async fn a_closed_store_opens_again_while_its_handle_lives(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![event("x")])).await.unwrap();
    store.close().await;
    let again = fixture.opened().await;
    assert_eq!(again.append(append("r", vec![event("y")])).await.unwrap().last_seq, 2);
    assert_eq!(reason(store.append(append("r", vec![event("late")])).await), "SHUTTING_DOWN");
}
