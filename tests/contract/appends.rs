//! Promises 1, 2 and 7: seqs without a gap, payloads kept as sent, batches stored atomically.

use jiff::Timestamp;
use runlog::domain::{NewEvent, Scope};
use tokio::task::JoinSet;

use crate::fixture::*;

pub async fn seqs_of_a_run_are_gapless_for_all_appenders(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let mut tasks = JoinSet::new();
    for task in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut mine = Vec::new();
            for n in 0..20 {
                let batch = (0..=n % 3).map(|_| event(&task.to_string())).collect();
                let appended = store.append(append("r", batch)).await.unwrap();
                assert!(appended.last_seq >= *seqs(&appended).last().unwrap());
                mine.extend(seqs(&appended));
            }
            mine
        });
    }
    let mut given = Vec::new();
    for mine in tasks.join_all().await {
        assert!(mine.is_sorted_by(|a, b| a < b), "later appends come later");
        given.extend(mine);
    }
    given.sort_unstable();
    let last = given.len() as u64;
    assert_eq!(given, (1..=last).collect::<Vec<_>>());
    let stored = events(&store, &run("r")).await;
    assert_eq!(stored.iter().map(|event| event.seq).collect::<Vec<_>>(), given);
    assert_eq!(store.extent(&run("r")).await.unwrap().end.last, last);
    store.close().await;
    assert_eq!(events(&fixture.opened().await, &run("r")).await, stored, "the same after reopen");
}

pub async fn appends_to_many_runs_at_once_are_each_gapless(fixture: impl Fixture) {
    let store = fixture.open(tuning(50)).await.0;
    let mut tasks = JoinSet::new();
    for task in 0..24 {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0..40 {
                let run = format!("r{}", (task * 7 + n) % 30);
                store.append(append(&run, vec![event("a"), event("b")])).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let mut total = 0;
    for n in 0..30 {
        let stored = events(&store, &run(&format!("r{n}"))).await;
        assert!(stored.iter().map(|event| event.seq).eq(1..=stored.len() as u64));
        total += stored.len();
    }
    assert_eq!(total, 24 * 40 * 2);
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().end.last, total as u64);
}

pub async fn recorded_at_never_decreases_in_a_run(fixture: impl Fixture) {
    let store = fixture.opened().await;
    for n in 0..50 {
        store.append(append("r", vec![event(&n.to_string()), event("b")])).await.unwrap();
    }
    store.close().await;
    let store = fixture.opened().await;
    store.append(append("r", vec![event("late")])).await.unwrap();
    let stored = events(&store, &run("r")).await;
    assert!(stored.is_sorted_by_key(|event| event.recorded_at));
    let row = store.run(&run_id("r")).await.unwrap();
    assert_eq!((row.created_at, row.updated_at), (stored[0].recorded_at, stored[100].recorded_at));
    assert!(stored.iter().all(|event| event.occurred_at == event.recorded_at), "no clock given: the server's");
}

pub async fn payloads_come_back_as_they_were_sent(fixture: impl Fixture) {
    let large = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    let texts = [
        r#"{"z":1,"a":{"y":[],"b":2},"z":3}"#,
        r#"{ "nul":"\u0000","lone":"\ud800" , "e":1E400}"#,
        "123456789012345678901234567890.000",
        "\"\u{10ffff}\u{7f}\u{2028}é\"",
        "null",
        "{}",
        &large,
    ];
    for tuning in [NEVER_FLUSHED, ALWAYS_FLUSHED] {
        let store = fixture.open(tuning).await.0;
        let runs = if tuning.flush_every == 1 { "flushed" } else { "unflushed" };
        store.append(append(runs, texts.map(|text| typed("t", text)).to_vec())).await.unwrap();
        for scope in [run(runs), Scope::Feed] {
            let stored = events(&store, &scope).await;
            let last = &stored[stored.len() - texts.len()..];
            assert!(last.iter().map(|event| event.payload.as_str()).eq(texts));
        }
        store.close().await;
    }
    let store = fixture.opened().await;
    assert!(events(&store, &run("unflushed")).await.iter().map(|event| event.payload.as_str()).eq(texts));
}

pub async fn the_double_of_a_time_is_kept_bit_by_bit(fixture: impl Fixture) {
    let doubles = [None, Some(1_763_630_000.123_456_7), Some(-0.0), Some(1.7e308), Some(f64::MIN_POSITIVE), None];
    for tuning in [NEVER_FLUSHED, ALWAYS_FLUSHED] {
        let store = fixture.open(tuning).await.0;
        let name = format!("r{}", tuning.flush_every);
        for sent_seconds in doubles {
            store.append(append(&name, vec![NewEvent { sent_seconds, ..event("x") }])).await.unwrap();
        }
        store.close().await;
        let store = fixture.open(tuning).await.0;
        let kept = events(&store, &run(&name)).await;
        assert!(kept.iter().map(|event| event.sent_seconds.map(f64::to_bits)).eq(doubles.map(|d| d.map(f64::to_bits))));
        store.close().await;
    }
}

pub async fn times_of_the_years_1_and_9999_are_kept(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let times = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999999Z", "9999-12-30T22:00:00.999999999Z"]
        .map(|text| text.parse::<Timestamp>().unwrap());
    let at = |n: usize, event| NewEvent { occurred_at: Some(times[n]), ..event };
    let sent = vec![at(0, typed("run_start", "{}")), at(1, event("x")), at(2, typed("run_end", "{}"))];
    store.append(append("r", sent)).await.unwrap();
    store.close().await;
    let store = fixture.opened().await;
    assert!(events(&store, &run("r")).await.iter().map(|event| event.occurred_at).eq(times));
    let row = store.run(&run_id("r")).await.unwrap();
    assert_eq!((row.started_at, row.completed_at), (Some(times[0]), Some(times[2])));
    store.append(append("r", vec![event("more")])).await.unwrap();
}

pub async fn an_event_without_an_id_gets_one_of_its_own(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let appended = store.append(append("r", vec![event("same"); 100])).await.unwrap();
    let ids: std::collections::HashSet<_> = appended.events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids.len(), 100);
    let stored = events(&store, &run("r")).await;
    assert!(stored.iter().map(|event| &event.event_id).eq(appended.events.iter().map(|event| &event.event_id)));
}

pub async fn a_dropped_append_is_stored_whole_or_not_at_all(fixture: impl Fixture) {
    let store = fixture.opened().await;
    // Futures dropped after a varying number of polls.
    for polls in 0..60 {
        let batch = vec![event(&polls.to_string()); 5];
        let mut pending = Box::pin(store.append(append("r", batch)));
        for _ in 0..polls {
            let mut once = tokio_stream::iter([()]);
            tokio::select! {
                biased;
                _ = &mut pending => break,
                _ = tokio_stream::StreamExt::next(&mut once) => tokio::task::yield_now().await,
            }
        }
    }
    store.append(append("r", vec![event("after")])).await.unwrap();
    let stored = events(&store, &run("r")).await;
    assert_eq!(stored.len() % 5, 1, "batches of five, and the last one");
    for batch in stored[..stored.len() - 1].chunks(5) {
        assert!(batch.iter().all(|event| event.payload == batch[0].payload));
    }
    assert!(stored.len() > 5 * 50, "whatever was polled once was accepted, and an accepted append is stored");
}

pub async fn the_order_of_submits_is_the_order_of_seqs(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let mut receipts = Vec::new();
    for n in 0..500 {
        receipts.push(store.submit(append("r", vec![event(&n.to_string())])).await.unwrap());
    }
    for (n, receipt) in receipts.into_iter().enumerate() {
        assert_eq!(seqs(&receipt.stored().await.unwrap()), [n as u64 + 1]);
    }
}
