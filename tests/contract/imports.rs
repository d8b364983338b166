//! Imports: recorded events of another store, stored as recorded and in order, up to the first event that does not fit.

use jiff::{Timestamp, ToSpan};
use runlog::codec::record;
use runlog::domain::projection::Lifecycle;
use runlog::domain::{AgentName, Event, NewEvent, Run, Scope, StructureId};
use runlog::store::{Append, Import, Recorded, SharedStore};

use crate::fixture::*;

fn at(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + microseconds).unwrap()
}

/// The recorded event as an event to import.
fn as_new(event: &Event) -> NewEvent {
    NewEvent {
        event_id: Some(event.event_id.clone()),
        event_type: event.event_type.clone(),
        origin: event.origin,
        occurred_at: Some(event.occurred_at),
        sent_seconds: event.sent_seconds,
        agent_name: event.agent_name.clone(),
        payload: event.payload.clone(),
        removal: event.removal,
        joined_from: event.joined_from,
    }
}

fn imported(run: &str, events: Vec<NewEvent>, times: Vec<Timestamp>, after: u64, import: &Import) -> Append {
    let recorded = Some(Box::new(Recorded { at: times, import: import.clone(), first_seq: None }));
    Append { recorded, ..expecting(after, append(run, events)) }
}

/// Imports the whole feed of `source`: one append for each sequence of neighbouring events of a run; waits for all of
/// them.
async fn copy(source: &SharedStore, target: &SharedStore) {
    let import = Import::default();
    let all = events(source, &Scope::Feed).await;
    let mut receipts = Vec::new();
    for of_run in all.chunk_by(|a, b| a.run_id == b.run_id) {
        let founding = source.run(&of_run[0].run_id).await.unwrap();
        let times = of_run.iter().map(|event| event.recorded_at).collect();
        let new = of_run.iter().map(as_new).collect();
        let append = imported(of_run[0].run_id.as_str(), new, times, of_run[0].seq - 1, &import);
        let append = Append { agent_name: founding.agent_name, structure_id: founding.structure_id, ..append };
        receipts.push(target.submit(append).await.unwrap());
    }
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
}

async fn run_of(store: &SharedStore, name: &str) -> Run {
    store.run(&run_id(name)).await.unwrap()
}

/// Runs of every kind, with interleaved events.
async fn fill(store: &SharedStore) -> Vec<&'static str> {
    let created = Append {
        agent_name: Some(AgentName::parse("founder").unwrap()),
        structure_id: Some(StructureId::parse("s-1").unwrap()),
        ..append("created", vec![typed("run.created", "{\"b\":1,\"a\":12345678901234567890123}")])
    };
    store.append(created).await.unwrap();
    let script: [(&str, &str, &str); 14] = [
        ("waits", "run_start", "{}"),
        ("created", "run.worker.started", "{\"to_status\":\"running\"}"),
        ("waits", "human_input_requested", "{\"question\":\"why?\",\"context\":{\"x\":[1, 2]}}"),
        ("ends", "run_start", " {\n\t\"nul\":\"\\u0000\", \"lone\":\"\\ud800\"}\n"),
        ("ends", "run_end", "{\"output\":{\"z\":1,\"a\":2},\"total_tokens\":195,\"cost_usd\":0.1,\"model\":\"m\"}"),
        ("created", "step", "\"x\""),
        ("ends", "run_end", "{\"total_tokens\":5,\"cost_usd\":0.2}"),
        ("ends", "error", "{\"late\":true}"),
        ("fails", "StructureRunStarting", "{}"),
        ("created", "step", "1e999"),
        ("fails", "StructureRunCompleted", "{\"status_detail\":{\"exit_code\":7}}"),
        ("waits", "step", "null"),
        ("cancelled", "run.cancelled", "{}"),
        ("cancelled", "run_start", "{}"),
    ];
    for (n, (run, event_type, payload)) in script.into_iter().enumerate() {
        let occurred_at = Some(at(0).checked_sub(i64::try_from(n).unwrap().hours()).unwrap());
        let event = NewEvent { occurred_at, ..typed(event_type, payload) };
        let event = if n % 2 == 0 { with_id(&format!("given-{n}"), event) } else { event };
        store.append(append(run, vec![event])).await.unwrap();
    }
    vec!["created", "waits", "ends", "fails", "cancelled"]
}

pub async fn an_import_is_the_same_log_with_the_same_runs_in_the_same_order(fixture: impl Fixture) {
    let source = SqliteFixture::here();
    let source = source.opened().await;
    let names = fill(&source).await;
    let strict = Tuning { lifecycle: Lifecycle::Strict, ..tuning(3) };
    let target = fixture.open(strict).await.0;
    copy(&source, &target).await;
    target.close().await;
    // Reopened, so that the events come from the file and not from memory.
    let target = fixture.open(strict).await.0;
    assert_eq!(events(&target, &Scope::Feed).await, events(&source, &Scope::Feed).await);
    for name in names {
        assert_eq!(run_of(&target, name).await, run_of(&source, name).await);
        assert_eq!(events(&target, &run(name)).await, events(&source, &run(name)).await);
    }
}

pub async fn an_import_keeps_what_a_compaction_has_left(fixture: impl Fixture) {
    let source = SqliteFixture::here();
    let source = source.open(tuning(1)).await.0;
    for text in ["a", "b", "c"] {
        source.append(append("r", vec![with_id(text, event(text))])).await.unwrap();
    }
    assert!(source.compact(&run_id("r"), &[1, 2], 3, event("abc").payload).await.unwrap());
    let (target, recorder) = fixture.open(tuning(1)).await;
    copy(&source, &target).await;
    let expected = events(&source, &run("r")).await;
    assert_eq!(expected[2].joined_from, Some(1));
    assert_eq!(events(&target, &run("r")).await, expected);
    let announced = recorder.commits().into_iter().flat_map(|commit| commit.feed);
    let announced: Vec<Event> = announced
        .flat_map(|chunk| chunk.records().map(|entry| record::decode(entry.unwrap().1).unwrap()).collect::<Vec<_>>())
        .collect();
    assert_eq!(announced, expected);
    let again = target.append(append("r", vec![with_id("c", event("c"))])).await.unwrap();
    assert_eq!((seqs(&again), duplicates(&again)), (vec![3], vec![true]));
    target.close().await;
    let target = fixture.open(tuning(1)).await.0;
    assert_eq!(events(&target, &run("r")).await, expected);
    assert!(target.scrub(0).await.unwrap().damaged.is_empty());
}

pub async fn events_of_an_import_keep_their_order_in_the_feed_within_one_commit(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    let import = Import::default();
    let mut receipts = Vec::new();
    for n in 0..30 {
        let name = ["a", "b", "c"][n % 3];
        let batch = vec![with_id(&format!("{n}"), event("x")), with_id(&format!("{n}'"), event("y"))];
        let append = imported(name, batch, vec![at(1), at(1)], n as u64 / 3 * 2, &import);
        receipts.push(store.submit(append).await.unwrap());
    }
    drop(held);
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    let ids: Vec<_> = events(&store, &Scope::Feed).await.iter().map(|event| event.event_id.to_string()).collect();
    let expected: Vec<_> = (0..30).flat_map(|n| [format!("{n}"), format!("{n}'")]).collect();
    assert_eq!(ids[1..], expected, "behind the event that held the committer");
    let commits = recorder.commits();
    assert!(commits.len() < 30, "several appends shared a commit: {}", commits.len());
    // The announced events equal the stored events, also for a run that comes back within a commit.
    let records = |chunks: &[runlog::codec::Chunk]| -> Vec<Event> {
        chunks.iter().flat_map(|c| c.records()).map(|r| record::decode(r.unwrap().1).unwrap()).collect()
    };
    let announced: Vec<Event> = commits.iter().flat_map(|commit| records(&commit.feed)).collect();
    assert_eq!(announced, events(&store, &Scope::Feed).await);
    for name in ["a", "b", "c"] {
        let of_run = commits.iter().flat_map(|commit| &commit.runs).filter(|of| of.run_id == run_id(name));
        let announced: Vec<Event> = of_run.flat_map(|of| records(&of.chunks)).collect();
        assert_eq!(announced, events(&store, &run(name)).await);
    }
    store.close().await;
    let store = fixture.open(Tuning::default()).await.0;
    assert_eq!(events(&store, &Scope::Feed).await, announced, "the end of the log is rebuilt as it was");
    for name in ["a", "b", "c"] {
        assert_eq!(events(&store, &run(name)).await.len(), 20);
    }
}

pub async fn nothing_is_stored_after_the_first_append_of_an_import_that_fails(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let held = recorder.hold(&store).await;
    let import = Import::default();
    let mut receipts = Vec::new();
    for (name, after) in [("a", 0), ("b", 7), ("c", 0), ("a", 1)] {
        let append = imported(name, vec![with_id(&format!("{name}{after}"), event("x"))], vec![at(0)], after, &import);
        receipts.push(store.submit(append).await.unwrap());
    }
    drop(held);
    let mut reasons = Vec::new();
    for receipt in receipts {
        reasons.push(receipt.stored().await.err().map(|error| error.reason()));
    }
    assert_eq!(reasons, [None, Some("SEQ_CONFLICT"), Some("SEQ_CONFLICT"), Some("SEQ_CONFLICT")]);
    assert_eq!(import.failure().unwrap().reason(), "SEQ_CONFLICT");
    let later = imported("d", vec![with_id("d", event("x"))], vec![at(0)], 0, &import);
    assert_eq!(reason(store.append(later).await), "SEQ_CONFLICT", "in a later commit neither");
    assert_eq!(store.extent(&Scope::Feed).await.unwrap().end.last, 2, "the plug and the first");
    let again = imported("d", vec![with_id("d", event("x"))], vec![at(0)], 0, &Import::default());
    store.append(again).await.unwrap();
}

pub async fn an_import_never_takes_an_event_for_another(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let first = vec![with_id("1", event("x")), with_id("2", event("y"))];
    store.append(imported("r", first.clone(), vec![at(5), at(6)], 0, &Import::default())).await.unwrap();
    let refused = async |events: Vec<NewEvent>, times: Vec<Timestamp>| {
        reason(store.append(imported("r", events, times, 2, &Import::default())).await)
    };
    // The same event at another seq, the same id twice, and a clock that runs backwards.
    assert_eq!(refused(vec![with_id("1", event("x"))], vec![at(7)]).await, "EVENT_ID_CONFLICT");
    assert_eq!(refused(vec![with_id("3", event("x")), first[0].clone()], vec![at(7); 2]).await, "EVENT_ID_CONFLICT");
    assert_eq!(refused(vec![with_id("3", event("x")); 2], vec![at(7); 2]).await, "EVENT_ID_CONFLICT");
    assert_eq!(refused(vec![with_id("3", event("x"))], vec![at(5)]).await, "INVALID_FIELD");
    let backwards = vec![with_id("3", event("x")), with_id("4", event("x"))];
    assert_eq!(refused(backwards, vec![at(8), at(7)]).await, "INVALID_FIELD");
    assert_eq!(store.extent(&run("r")).await.unwrap().end.last, 2);
    // A publish after an import uses the store's clock.
    store.append(append("r", vec![event("z")])).await.unwrap();
    let stored = events(&store, &run("r")).await;
    assert_eq!((stored[0].recorded_at, stored[1].recorded_at), (at(5), at(6)));
    assert!(stored[2].recorded_at > at(6));
}

pub async fn ids_that_another_store_gave_are_found_and_known_again(fixture: impl Fixture) {
    let elsewhere = SqliteFixture::here();
    let elsewhere = elsewhere.opened().await;
    // The runs have other numbers in each store: an id given by one store encodes a location that is free or another
    // event's in the other store.
    for name in ["other", "r", "third"] {
        elsewhere.append(append(name, (0..5).map(|n| event(&n.to_string())).collect())).await.unwrap();
    }
    let store = fixture.open(tuning(4)).await.0;
    store.append(append("here", (0..9).map(|n| event(&n.to_string())).collect())).await.unwrap();
    let source = events(&elsewhere, &run("r")).await;
    let (new, times) = source.iter().map(|event| (as_new(event), event.recorded_at)).unzip();
    store.append(imported("r", new, times, 0, &Import::default())).await.unwrap();
    for round in ["live", "reopened"] {
        let store = if round == "live" { store.clone() } else { fixture.open(tuning(4)).await.0 };
        for event in &source {
            assert_eq!(store.find_event(None, &event.event_id).await.unwrap(), *event, "{round}");
            assert_eq!(store.find_event(Some(&run_id("r")), &event.event_id).await.unwrap(), *event, "{round}");
            assert_eq!(reason(store.find_event(Some(&run_id("here")), &event.event_id).await), "EVENT_NOT_FOUND");
            let again = store.append(append("r", vec![as_new(event)])).await.unwrap();
            assert_eq!((seqs(&again), duplicates(&again)), (vec![event.seq], vec![true]), "{round}");
            let again = elsewhere.append(append("r", vec![as_new(event)])).await.unwrap();
            assert_eq!((seqs(&again), duplicates(&again)), (vec![event.seq], vec![true]), "{round}");
        }
        store.close().await;
    }
}
