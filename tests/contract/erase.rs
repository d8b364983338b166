//! Erasure: payloads go, and the events stay in their places.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use runlog::codec::record;
use runlog::domain::retention::{Keep, Retention};
use runlog::domain::{Event, EventId, NewEvent, Removal, RunStatus, Scope};
use runlog::store::{Condition, Range, ReadFrom, SharedStore};

use crate::fixture::*;
use crate::retention::pass;
use crate::rng::Rng;

const SECRET: &str = "a text that is to go";

fn secret(id: &str) -> NewEvent {
    with_id(id, event(SECRET))
}

async fn erase(store: &SharedStore, run: &str, seqs: std::ops::RangeInclusive<u64>) -> u64 {
    store.erase(&run_id(run), seqs).await.unwrap()
}

/// Whether the event is `before` without its payload.
fn is_erased(event: &Event, before: &Event) -> bool {
    let mut expected = before.clone();
    expected.remove(Removal::Erased);
    (event.payload.as_str(), event.removal) == (expected.payload.as_str(), expected.removal)
        && Event { payload: before.payload.clone(), removal: None, ..event.clone() } == *before
}

pub async fn erased_events_keep_their_places_and_all_but_their_payloads(fixture: impl Fixture) {
    let store = fixture.opened().await;
    for n in 0..6 {
        store.append(append("r", vec![secret(&format!("e{n}"))])).await.unwrap();
        store.append(append("other", vec![secret(&format!("e{n}"))])).await.unwrap();
    }
    let (run_before, feed_before) = (events(&store, &run("r")).await, events(&store, &Scope::Feed).await);
    assert_eq!(erase(&store, "r", 2..=4).await, 3);
    for reopened in [false, true] {
        let store = if reopened { fixture.opened().await } else { Arc::clone(&store) };
        for (event, before) in events(&store, &run("r")).await.iter().zip(&run_before) {
            let is_right = if (2..=4).contains(&event.seq) { is_erased(event, before) } else { event == before };
            assert!(is_right, "{event:?}");
            assert_eq!(store.find_event(Some(&run_id("r")), &event.event_id).await.unwrap(), *event);
        }
        let feed = events(&store, &Scope::Feed).await;
        assert_eq!(feed.len(), feed_before.len());
        for (event, before) in feed.iter().zip(&feed_before) {
            let goes = event.run_id == run_id("r") && (2..=4).contains(&event.seq);
            assert!(if goes { is_erased(event, before) } else { event == before }, "{event:?}");
        }
        let run = store.run(&run_id("r")).await.unwrap();
        assert_eq!((run.first_seq, run.last_seq, store.extent(&Scope::Feed).await.unwrap().first), (1, 6, 1));
        store.close().await;
    }
}

pub async fn an_erasure_may_be_repeated_and_leaves_out_what_the_run_does_not_have(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![secret("a"), secret("b"), secret("c")])).await.unwrap();
    assert_eq!(reason(store.erase(&run_id("missing"), 1..=3).await), "RUN_NOT_FOUND");
    assert_eq!(erase(&store, "r", 4..=9).await, 0);
    assert_eq!(erase(&store, "r", 2..=2).await, 1);
    assert_eq!(erase(&store, "r", 1..=2).await, 2);
    assert_eq!(erase(&store, "r", 0..=u64::MAX).await, 3);
    let once = all(&store, &run("r")).await;
    assert_eq!(erase(&store, "r", 0..=u64::MAX).await, 3);
    assert_eq!(all(&store, &run("r")).await, once);
    // The run goes on.
    assert_eq!(seqs(&store.append(append("r", vec![event("later")])).await.unwrap()), [4]);
    let removals: Vec<bool> = events(&store, &run("r")).await.iter().map(|event| event.removal.is_some()).collect();
    assert_eq!(removals, [true, true, true, false]);
    store.close().await;
}

pub async fn a_long_run_is_erased_in_parts(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let large = event(&"x".repeat(200_000));
    for n in 0..12 {
        store.append(append("r", vec![event("small"); 100])).await.unwrap();
        store.append(append(if n % 2 == 0 { "r" } else { "other" }, vec![large.clone(); 2])).await.unwrap();
    }
    let last = store.extent(&run("r")).await.unwrap().end.last;
    assert_eq!(erase(&store, "r", 51..=last).await, last - 50);
    let after = events(&store, &run("r")).await;
    assert!(after.iter().all(|event| event.removal.is_some() == (event.seq > 50)));
    assert!(events(&store, &run("other")).await.iter().all(|event| event.removal.is_none()));
    store.close().await;
}

pub async fn a_repeat_of_an_erased_event_is_a_duplicate_and_brings_nothing_back(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![secret("named"), event(SECRET)])).await.unwrap();
    let assigned = events(&store, &run("r")).await[1].event_id.to_string();
    erase(&store, "r", 1..=2).await;
    for reopened in [false, true] {
        let store = if reopened { fixture.opened().await } else { Arc::clone(&store) };
        for (id, seq) in [("named", 1), (assigned.as_str(), 2)] {
            for text in [SECRET, "another text"] {
                let again = store.append(append("r", vec![with_id(id, event(text))])).await.unwrap();
                assert_eq!((seqs(&again), duplicates(&again)), (vec![seq], vec![true]), "{id}");
            }
        }
        let repeats = Condition::OnlyRepeat;
        let again = runlog::store::Append { condition: Some(repeats), ..append("r", vec![secret("named")]) };
        assert_eq!(duplicates(&store.append(again).await.unwrap()), [true]);
        let stored = events(&store, &run("r")).await;
        assert!(stored.len() == 2 && stored.iter().all(|event| event.payload.as_str() == Removal::PAYLOAD));
        store.close().await;
    }
}

pub async fn documents_that_came_from_an_erased_event_go_with_it(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let run_of = async |run: &str| store.run(&run_id(run)).await.unwrap();
    let ended = r#"{"output":{"text":"a text that is to go"},"total_tokens":195,"cost_usd":0.1,"model":"m"}"#;
    store.append(append("ends", vec![typed("run_start", "{}"), typed("run_end", ended)])).await.unwrap();
    let failed = r#"{"status_detail":{"exit_code":7,"text":"a text that is to go"}}"#;
    store.append(append("fails", vec![event("x"), typed("StructureRunCompleted", failed)])).await.unwrap();
    let outputs = ["first", "second"].map(|text| {
        let json = serde_json::json!({ "output_task_output": text }).to_string();
        NewEvent { origin: runlog::domain::Origin::User, ..typed("FinishStructureRunEvent", &json) }
    });
    store.append(append("twice", outputs.to_vec())).await.unwrap();
    assert!(run_of("ends").await.output_json.unwrap().contains(SECRET));
    assert!(run_of("fails").await.error_json.unwrap().contains(SECRET));
    erase(&store, "ends", 2..=2).await;
    erase(&store, "fails", 1..=2).await;
    erase(&store, "twice", 1..=1).await;
    let ends = run_of("ends").await;
    assert_eq!((ends.output_json, ends.status), (None, RunStatus::Succeeded));
    assert_eq!(ends.usage.unwrap().total_tokens, 195, "usage stays");
    let fails = run_of("fails").await;
    assert_eq!((fails.error_json, fails.status_detail_json, fails.status), (None, None, RunStatus::Failed));
    assert_eq!(run_of("twice").await.output_json.as_deref(), Some("\"second\""), "it came from another event");
    erase(&store, "twice", 2..=2).await;
    assert_eq!(run_of("twice").await.output_json, None);
    store.close().await;
}

pub async fn an_erased_question_stays_open_without_its_text(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let asked = r#"{"question_id":"q-2","question":"a text that is to go","context":{"a":1},"channel":"slack"}"#;
    let first = typed("human_input_requested", r#"{"question":"kept?"}"#);
    store.append(append("r", vec![first, typed("human_input_requested", asked)])).await.unwrap();
    erase(&store, "r", 2..=2).await;
    for reopened in [false, true] {
        let store = if reopened { fixture.opened().await } else { Arc::clone(&store) };
        let run = store.run(&run_id("r")).await.unwrap();
        assert_eq!((run.pending_inputs.len(), run.status), (2, RunStatus::AwaitingInput));
        assert_eq!(run.pending_inputs[0].question, "kept?");
        let erased = &run.pending_inputs[1];
        assert_eq!(*erased, runlog::domain::PendingInput { question_id: Some("q-2".to_owned()), ..erased.reference() });
        store.close().await;
    }
    let store = fixture.opened().await;
    store.append(append("r", vec![typed("human_input_received", r#"{"question_id":"q-2"}"#)])).await.unwrap();
    let open = store.run(&run_id("r")).await.unwrap().pending_inputs;
    assert_eq!(open.iter().map(|question| question.requested_seq).collect::<Vec<_>>(), [1]);
    store.close().await;
}

pub async fn the_listener_hears_of_an_erasure_before_its_answer(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    for n in 0..20_u64 {
        store.append(append("r", vec![secret(&format!("e{n}")), event("x")])).await.unwrap();
        let before = recorder.removals().len();
        erase(&store, "r", 2 * n + 1..=2 * n + 1).await;
        let removals = recorder.removals();
        assert!(removals.len() > before, "{n}");
        // What is announced after the last removal has no payload that was erased.
        let later = recorder.commits().split_off(*removals.last().unwrap());
        assert!(later.iter().flat_map(|commit| &commit.feed).all(|chunk| !holds(&chunk.data, SECRET)), "{n}");
    }
    store.close().await;
}

fn holds(data: &[u8], text: &str) -> bool {
    data.windows(text.len()).any(|window| window == text.as_bytes())
}

pub async fn an_event_id_of_another_run_or_project_is_not_erased(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let other = runlog::domain::ProjectId::parse("further").unwrap();
    let other = store.in_project(store.create_project(&other).await.unwrap());
    for store in [&store, &other] {
        store.append(append("r", vec![secret("e")])).await.unwrap();
    }
    assert_eq!(erase(&store, "r", 1..=1).await, 1);
    let id = EventId::parse("e").unwrap();
    assert_eq!(store.find_event(None, &id).await.unwrap().removal, Some(Removal::Erased));
    assert!(other.find_event(None, &id).await.unwrap().payload.as_str().contains(SECRET));
    store.close().await;
}

/// A random index of a list of this length.
pub fn index(rng: &mut Rng, length: u64) -> usize {
    usize::try_from(rng.within(0..length)).unwrap()
}

/// Checks that the page has no gap, and that each event is as it was published, or erased.
fn check(page: &runlog::store::Page, first: Option<u64>) {
    let mut next = first;
    let mut chunks = page.chunks.clone();
    chunks.sort_by_key(|chunk| chunk.first);
    for chunk in chunks {
        assert_eq!(next.unwrap_or(chunk.first), chunk.first);
        next = Some(chunk.first + u64::from(chunk.count));
        for (_, bytes) in chunk.records().map(Result::unwrap) {
            let event = record::decode(bytes).unwrap();
            match event.removal {
                Some(removal) => {
                    assert_eq!((removal, event.payload.as_str()), (Removal::Erased, Removal::PAYLOAD));
                }
                None => assert!(event.payload.as_str().contains(&format!("of {} {}", event.run_id, event.seq))),
            }
        }
    }
}

pub async fn readers_at_every_position_see_no_gap_while_events_are_published_and_erased(fixture: impl Fixture) {
    const EVENTS: u64 = 400;
    let (store, _) = fixture.open(tuning(64)).await;
    let is_over = Arc::new(AtomicBool::new(false));
    for run in ["a", "b"] {
        store.append(append(run, vec![event(&format!("of {run} 1 "))])).await.unwrap();
    }
    let publishers = ["a", "b"].map(|run| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for seq in 2..=EVENTS {
                let events = vec![with_id(&format!("{run}{seq}"), event(&format!("of {run} {seq} ")))];
                assert_eq!(seqs(&store.append(append(run, events)).await.unwrap()), [seq]);
            }
        })
    });
    let mut readers = Vec::new();
    for n in 0..3 {
        let (store, is_over) = (Arc::clone(&store), Arc::clone(&is_over));
        let mut rng = Rng::new(&format!("reader {n}"));
        readers.push(tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let scope = [run("a"), run("b"), Scope::Feed][index(&mut rng, 3)].clone();
                let last = store.extent(&scope).await.unwrap().end.last;
                let at = rng.within(0..last + 2);
                let from = [ReadFrom::After(at), ReadFrom::Before(at), ReadFrom::End][index(&mut rng, 3)];
                let range = Range { from, max_events: 1 + index(&mut rng, 60), max_bytes: 1 << 20 };
                let page = store.read(&scope, range).await.unwrap();
                check(&page, matches!(from, ReadFrom::After(_)).then_some(at + 1));
            }
        }));
    }
    let mut rng = Rng::new("eraser");
    let mut erased = [0_u64; 2];
    while publishers.iter().any(|publisher| !publisher.is_finished()) {
        let run = index(&mut rng, 2);
        let end = store.extent(&crate::fixture::run(["a", "b"][run])).await.unwrap().end.last;
        let from = 1 + rng.within(0..end);
        let to = from + rng.within(0..5);
        assert!(erase(&store, ["a", "b"][run], from..=to).await > 0);
        erased[run] += 1;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(erased.iter().sum::<u64>() > 0);
    for run in ["a", "b"] {
        assert_eq!(events(&store, &crate::fixture::run(run)).await.len() as u64, EVENTS);
        assert_eq!(erase(&store, run, 1..=EVENTS).await, EVENTS);
    }
    assert!(
        events(&store, &Scope::Feed)
            .await
            .iter()
            .all(|event| event.removal == Some(Removal::Erased) || !["a", "b"].contains(&event.run_id.as_str()))
    );
    store.close().await;
}

pub async fn an_erasure_of_a_whole_run_takes_what_expired_events_have_left(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let asked = typed("human_input_requested", &format!(r#"{{"question":"{SECRET}"}}"#));
    let output = typed("FinishStructureRunEvent", &format!(r#"{{"output_task_output":"{SECRET}"}}"#));
    store.append(append("r", vec![output, asked])).await.unwrap();
    store.append(append("newest", vec![event("x")])).await.unwrap();
    let keep = Keep::For(std::time::Duration::from_secs(1));
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    pass(&store, &Retention { default: keep, ..Retention::default() }, later).await;
    let before = store.run(&run_id("r")).await.unwrap();
    assert!(before.first_seq == 3 && format!("{before:?}").contains(SECRET), "{before:?}");
    assert_eq!(erase(&store, "r", before.first_seq..=before.last_seq).await, 0, "no event is kept");
    let run = store.run(&run_id("r")).await.unwrap();
    assert!(!format!("{run:?}").contains(SECRET), "{run:?}");
    assert_eq!((run.pending_inputs.len(), run.output_json), (1, None));
    store.close().await;
}
