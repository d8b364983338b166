//! Promise 3: publishing is safe to repeat.

use runlog::domain::{AgentName, NewEvent, Origin};

use crate::fixture::*;

pub async fn the_same_event_again_is_answered_with_its_first_seq(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let first = store.append(append("r", vec![event("0"), with_id("a", event("x"))])).await.unwrap();
    let again = store.append(append("r", vec![with_id("a", event("x")), event("1")])).await.unwrap();
    assert_eq!((seqs(&first), duplicates(&first)), (vec![1, 2], vec![false, false]));
    assert_eq!((seqs(&again), duplicates(&again), again.last_seq), (vec![2, 3], vec![true, false], 3));
    let only = store.append(append("r", vec![with_id("a", event("x"))])).await.unwrap();
    assert_eq!((seqs(&only), only.last_seq), (vec![2], 3));
    assert_eq!(events(&store, &run("r")).await.len(), 3);
}

pub async fn the_same_json_in_another_encoding_is_the_same_event_and_the_first_text_stays(fixture: impl Fixture) {
    const FIRST: &str = r#"{"a":1,"b":[true,"é"],"c":12345678901234567890123,"c":null}"#;
    let again = format!(
        "{{ {}\"c\":1234567890123456789012.3e1, \"b\" : [true,\"\\u00e9\"],\"c\":null,\"a\":1.0}}",
        " ".repeat(999)
    );
    for tuning in [NEVER_FLUSHED, ALWAYS_FLUSHED] {
        let store = fixture.open(tuning).await.0;
        let run_name = format!("r{}", tuning.flush_every);
        let sent = |json: &str| append(&run_name, vec![with_id("a", typed("step", json))]);
        store.append(sent(FIRST)).await.unwrap();
        store.append(append(&run_name, vec![event("1")])).await.unwrap();
        let repeated = store.append(sent(&again)).await.unwrap();
        assert_eq!((seqs(&repeated), duplicates(&repeated), repeated.last_seq), (vec![1], vec![true], 2));
        assert_eq!(events(&store, &run(&run_name)).await[0].payload.as_str(), FIRST);
        for other in
            [again.replace("012.3e1", "012.4e1"), again.replace("\"c\":null", ""), again.replace("1.0", "\"1\"")]
        {
            let other = other.replace("],,", "],");
            assert_eq!(reason(store.append(sent(&other)).await), "EVENT_ID_CONFLICT", "{other}");
        }
        // Duplicates within one request are found too.
        let both = vec![with_id("b", typed("step", FIRST)), with_id("b", typed("step", &again))];
        assert_eq!(seqs(&store.append(append(&run_name, both)).await.unwrap()), [3, 3]);
        let error = store.append(append(&run_name, vec![with_id("c", event("x")), with_id("c", event("y"))])).await;
        let error = error.unwrap_err();
        assert_eq!(
            (error.reason(), error.to_string().contains("two events of this request")),
            ("EVENT_ID_CONFLICT", true)
        );
        store.close().await;
    }
}

pub async fn other_content_under_an_id_is_a_conflict(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let first = with_id("a", event("x"));
    store.append(append("r", vec![event("0"), first.clone()])).await.unwrap();
    let others = [
        with_id("a", event("y")),
        with_id("a", typed("other", first.payload.as_str())),
        NewEvent { origin: Origin::System, ..first.clone() },
        NewEvent { agent_name: Some(AgentName::parse("b").unwrap()), ..first.clone() },
        with_id("a", typed("step", r#"{"text":"x","text":"x"}"#)),
    ];
    for other in others {
        let error = store.append(append("r", vec![other])).await.unwrap_err();
        assert_eq!(error.reason(), "EVENT_ID_CONFLICT");
        assert!(error.metadata().contains(&("seq", "2".to_owned())));
    }
    assert_eq!(store.extent(&run("r")).await.unwrap().end.last, 2);
}

pub async fn duplicates_are_known_after_reopen_and_after_a_flush(fixture: impl Fixture) {
    for flush_every in [1, 3, usize::MAX] {
        let run = format!("r{flush_every}");
        let numbered = |n: u32| with_id(&format!("id-{n}"), event(&n.to_string()));
        let store = fixture.open(tuning(flush_every)).await.0;
        for n in 0..10 {
            store.append(append(&run, vec![numbered(2 * n), numbered(2 * n + 1)])).await.unwrap();
        }
        for round in ["live", "reopened"] {
            let store = if round == "live" {
                store.clone()
            } else {
                store.close().await;
                fixture.open(tuning(flush_every)).await.0
            };
            let all = store.append(append(&run, (0..20).map(numbered).collect())).await.unwrap();
            assert_eq!((seqs(&all), all.last_seq), ((1..=20).collect(), 20), "{round}, flushed every {flush_every}");
            assert!(duplicates(&all).iter().all(|duplicate| *duplicate));
            for n in 0..20 {
                let other = with_id(&format!("id-{n}"), event("other"));
                assert_eq!(reason(store.append(append(&run, vec![other])).await), "EVENT_ID_CONFLICT");
            }
            if round == "reopened" {
                store.close().await;
            }
        }
    }
}

pub async fn ids_given_by_the_store_may_be_sent_back(fixture: impl Fixture) {
    for tuning in [NEVER_FLUSHED, ALWAYS_FLUSHED] {
        let store = fixture.open(tuning).await.0;
        let run = format!("r{}", tuning.flush_every);
        let texts = ["a", "b", "c"];
        let first = store.append(append(&run, texts.map(event).to_vec())).await.unwrap();
        let ids: Vec<_> = first.events.iter().map(|published| published.event_id.to_string()).collect();
        store.close().await;
        let store = fixture.open(tuning).await.0;
        let back = ids.iter().zip(texts).map(|(id, text)| with_id(id, event(text))).collect();
        let again = store.append(append(&run, back)).await.unwrap();
        assert_eq!((seqs(&again), duplicates(&again)), (vec![1, 2, 3], vec![true; 3]));
        assert_eq!(reason(store.append(append(&run, vec![with_id(&ids[0], event("b"))])).await), "EVENT_ID_CONFLICT");
        // A producer's id of the same shape is an ordinary id and is found like any other id.
        let (head, last) = ids[1].split_at(ids[1].len() - 1);
        let forged = with_id(&format!("{head}{}", if last == "0" { "1" } else { "0" }), event("forged"));
        let stored = store.append(append(&run, vec![forged.clone()])).await.unwrap();
        let repeated = store.append(append(&run, vec![forged])).await.unwrap();
        assert_eq!((stored.last_seq, seqs(&repeated), duplicates(&repeated)), (4, vec![4], vec![true]));
        store.close().await;
    }
}

pub async fn an_id_repeated_within_a_request_is_stored_once(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let twice = vec![with_id("a", event("x")), event("y"), with_id("a", event("x")), with_id("b", event("x"))];
    let appended = store.append(append("r", twice)).await.unwrap();
    assert_eq!((seqs(&appended), duplicates(&appended)), (vec![1, 2, 1, 3], vec![false, false, true, false]));
    let conflict = vec![with_id("c", event("x")), with_id("c", event("y"))];
    assert_eq!(reason(store.append(append("r", conflict)).await), "EVENT_ID_CONFLICT");
    assert_eq!(store.append(append("r", vec![with_id("c", event("z"))])).await.unwrap().last_seq, 4);
}

pub async fn a_batch_with_a_conflict_leaves_nothing(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![with_id("a", event("x"))])).await.unwrap();
    let batch = vec![typed("run_start", "{}"), with_id("b", event("new")), with_id("a", event("y"))];
    assert_eq!(reason(store.append(append("r", batch)).await), "EVENT_ID_CONFLICT");
    let row = store.run(&run_id("r")).await.unwrap();
    assert_eq!((row.last_seq, row.status as u8), (1, 0));
    let b = store.append(append("r", vec![with_id("b", event("now"))])).await.unwrap();
    assert_eq!((seqs(&b), duplicates(&b)), (vec![2], vec![false]), "the id was not taken");
}

pub async fn the_same_id_in_another_run_is_another_event(fixture: impl Fixture) {
    let store = fixture.open(ALWAYS_FLUSHED).await.0;
    for run in ["r1", "r2"] {
        let appended = store.append(append(run, vec![with_id("a", event(run))])).await.unwrap();
        assert_eq!((seqs(&appended), duplicates(&appended)), (vec![1], vec![false]));
    }
}

pub async fn a_batch_of_a_thousand_repeats_at_once(fixture: impl Fixture) {
    let store = fixture.open(tuning(400)).await.0;
    let numbered = |n: u32| with_id(&format!("id-{n}"), event(&n.to_string()));
    for part in 0..100 {
        store.append(append("r", (part * 10..part * 10 + 10).map(numbered).collect())).await.unwrap();
        store.append(append("noise", vec![event("x")])).await.unwrap();
    }
    let mut backwards: Vec<_> = (0..1_000).map(numbered).collect();
    backwards.reverse();
    let again = store.append(append("r", backwards)).await.unwrap();
    assert_eq!((seqs(&again), again.last_seq), ((1..=1_000).rev().collect(), 1_000));
}

pub async fn repeats_of_large_events_by_small_ones_are_conflicts(fixture: impl Fixture) {
    let store = fixture.open(tuning(5)).await.0;
    let large = typed("t", &format!("\"{}\"", "x".repeat(1 << 19)));
    let ids: Vec<_> = (0..20).map(|n| format!("id-{n}")).collect();
    for id in &ids {
        store.append(append("r", vec![with_id(id, large.clone())])).await.unwrap();
    }
    let small = ids.iter().map(|id| with_id(id, event("small"))).collect();
    assert_eq!(reason(store.append(append("r", small)).await), "EVENT_ID_CONFLICT");
    let again = ids.iter().map(|id| with_id(id, large.clone())).collect();
    let again = store.append(append("r", again)).await.unwrap();
    assert_eq!((duplicates(&again), again.last_seq), (vec![true; 20], 20));
}

pub async fn a_retry_with_fresh_clocks_is_a_duplicate(fixture: impl Fixture) {
    let store = fixture.opened().await;
    for second in [1, 2] {
        let occurred_at = Some(jiff::Timestamp::from_second(second).unwrap());
        let stamped = NewEvent { occurred_at, ..with_id("a", event("x")) };
        assert_eq!(store.append(append("r", vec![stamped])).await.unwrap().last_seq, 1);
    }
    assert_eq!(events(&store, &run("r")).await[0].occurred_at.as_second(), 1, "the first one stays");
}
