//! Projects: nothing of one is found in another, and each has what a store without projects has.

use std::sync::Arc;

use runlog::codec::record;
use runlog::domain::{Cursor, EventId, ProjectId, RunFilter, RunStatus, Scope, StructureId};
use runlog::store::{Append, CommitListener, RunQuery, SharedStore};

use crate::fixture::*;

/// The data of a store, seen by the project `other`; each opening adds events to the project `default`, with the ids of the cases.
pub struct InProject<F>(F);

impl<F: Fixture> Fixture for InProject<F> {
    async fn new() -> Option<Self> {
        F::new().await.map(Self)
    }

    async fn store(&self, tuning: Tuning, listener: Arc<dyn CommitListener>) -> SharedStore {
        let store = self.0.store(tuning, Arc::new(OfProject { listener })).await;
        for run in ["r", "a", "b", "42", "plug"] {
            store.append(append(run, vec![with_id("noise", event("of another project"))])).await.unwrap();
        }
        store.in_project(store.create_project(&id("other")).await.unwrap())
    }
}

/// Leaves out the commits of the project `default`.
struct OfProject {
    listener: Arc<dyn CommitListener>,
}

impl CommitListener for OfProject {
    fn committed(&self, commit: runlog::store::Commit) {
        if commit.project != runlog::store::ProjectNumber::DEFAULT {
            self.listener.committed(commit);
        }
    }

    fn history_changed(&self) {
        self.listener.history_changed();
    }

    fn removed(&self, project: runlog::store::ProjectNumber) {
        if project != runlog::store::ProjectNumber::DEFAULT {
            self.listener.removed(project);
        }
    }

    fn interest(&self, project: runlog::store::ProjectNumber) -> runlog::store::Interest {
        self.listener.interest(project)
    }
}

fn id(project: &str) -> ProjectId {
    ProjectId::parse(project).unwrap()
}

/// The store as the projects `default`, `one` and `two` see it.
async fn three(store: &SharedStore) -> [SharedStore; 3] {
    let default = store.in_project(store.project(&ProjectId::default()).await.unwrap().unwrap());
    let one = store.in_project(store.create_project(&id("one")).await.unwrap());
    let two = store.in_project(store.create_project(&id("two")).await.unwrap());
    [default, one, two]
}

/// The texts of the events of a scope.
async fn texts(store: &SharedStore, scope: &Scope) -> Vec<String> {
    let text = |event: runlog::domain::Event| {
        let payload: serde_json::Value = serde_json::from_str(event.payload.as_str()).unwrap();
        payload["text"].as_str().unwrap().to_owned()
    };
    events(store, scope).await.into_iter().map(text).collect()
}

pub async fn one_id_in_two_projects_is_two_runs(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let [_, one, two] = three(&store).await;
    let stored = one.append(append("same", vec![with_id("e", event("of one"))])).await.unwrap();
    assert_eq!((stored.last_seq, duplicates(&stored)), (1, vec![false]));
    assert_eq!(reason(two.run(&run_id("same")).await), "RUN_NOT_FOUND");
    assert_eq!(reason(two.extent(&run("same")).await), "RUN_NOT_FOUND");
    assert_eq!(reason(two.read(&run("same"), ascending(0, 10)).await), "RUN_NOT_FOUND");
    assert_eq!(reason(two.last_seq_at(&run_id("same"), u64::MAX).await), "RUN_NOT_FOUND");
    // Neither a duplicate nor a conflict, and seqs begin at 1.
    let other = expecting(0, append("same", vec![with_id("e", event("of two")), event("more")]));
    assert_eq!(seqs(&two.append(other).await.unwrap()), [1, 2]);
    let ended = typed("StructureRunCompleted", r#"{"status":"SUCCEEDED"}"#);
    let ended = runlog::domain::NewEvent { origin: runlog::domain::Origin::System, ..ended };
    two.append(append("same", vec![ended])).await.unwrap();
    assert_ne!(one.run(&run_id("same")).await.unwrap().status, RunStatus::Succeeded);
    assert_eq!(two.run(&run_id("same")).await.unwrap().status, RunStatus::Succeeded);
    assert_eq!(texts(&one, &run("same")).await, ["of one"]);
    let again = one.append(append("same", vec![with_id("e", event("of one"))])).await.unwrap();
    assert_eq!(duplicates(&again), [true]);
    store.close().await;
}

pub async fn an_event_is_found_in_its_project_only(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let [default, one, two] = three(&store).await;
    let given = EventId::parse("given").unwrap();
    one.append(append("same", vec![with_id("given", event("of one"))])).await.unwrap();
    two.append(append("same", vec![event("of two")])).await.unwrap();
    let assigned = events(&two, &run("same")).await.remove(0).event_id;
    let same = run_id("same");
    for (at, theirs, others) in [(&one, &given, &assigned), (&two, &assigned, &given)] {
        for within in [None, Some(&same)] {
            assert_eq!(at.find_event(within, theirs).await.unwrap().event_id, *theirs);
            assert_eq!(reason(at.find_event(within, others).await), "EVENT_NOT_FOUND");
        }
    }
    for event_id in [&given, &assigned] {
        assert_eq!(reason(default.find_event(None, event_id).await), "EVENT_NOT_FOUND");
    }
    store.close().await;
}

pub async fn each_project_has_its_own_feed_from_1_without_gaps(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let [default, one, two] = three(&store).await;
    let before = default.extent(&Scope::Feed).await.unwrap().end.last;
    for n in 0..30 {
        for (at, name) in [(&one, "one"), (&default, "default"), (&two, "two")] {
            at.append(append(&format!("r{}", n % 4), vec![event(&format!("{name} {n}")), event(name)])).await.unwrap();
        }
    }
    for (at, name) in [(&one, "one"), (&two, "two")] {
        let texts = texts(at, &Scope::Feed).await;
        assert!(texts.iter().all(|text| text.starts_with(name)), "{texts:?}");
        assert_eq!((texts.len(), at.extent(&Scope::Feed).await.unwrap().end.last), (60, 60));
        let last =
            at.read(&Scope::Feed, runlog::store::Range { from: runlog::store::ReadFrom::End, ..ascending(0, 2) });
        assert_eq!(last.await.unwrap().chunks.first().unwrap().last(), 60);
        assert!(at.read(&Scope::Feed, ascending(60, 10)).await.unwrap().chunks.is_empty());
    }
    assert_eq!(default.extent(&Scope::Feed).await.unwrap().end.last, before + 60);
    // A cursor of one feed says nothing in another.
    let cursor = Cursor(7).to_text(&Scope::Feed, &one.history());
    assert_eq!(Cursor::parse(&cursor, &Scope::Feed, &one.history()).unwrap(), Cursor(7));
    for other in [&two, &default] {
        assert_eq!(reason(Cursor::parse(&cursor, &Scope::Feed, &other.history())), "CURSOR_INVALID");
    }
    store.close().await;
}

pub async fn projects_written_at_once_keep_their_own_order(fixture: impl Fixture) {
    let (store, recorder) = fixture.open(Tuning::default()).await;
    let [default, one, two] = three(&store).await;
    let held = recorder.hold(&store).await;
    let mut receipts = Vec::new();
    for n in 0..40 {
        for (at, name) in [(&two, "two"), (&one, "one"), (&default, "default")] {
            receipts.push(at.submit(append("mixed", vec![event(&format!("{name} {n}"))])).await.unwrap());
        }
    }
    drop(held);
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    for (at, name) in [(&one, "one"), (&two, "two"), (&default, "default")] {
        let expected: Vec<String> = (0..40).map(|n| format!("{name} {n}")).collect();
        assert_eq!(texts(at, &run("mixed")).await, expected);
    }
    // Each announcement is of one project, and has its events from position 1 on, once and in order.
    let mut next = std::collections::HashMap::new();
    for commit in recorder.commits() {
        for chunk in &commit.feed {
            let next = next.entry(commit.project).or_insert(chunk.first);
            assert_eq!(chunk.first, *next, "{:?}", commit.project);
            *next = chunk.last() + 1;
            for (_, bytes) in chunk.records().map(Result::unwrap) {
                let event = record::decode(bytes).unwrap();
                assert!(commit.runs.iter().any(|run| run.run_id == event.run_id));
            }
        }
    }
    store.close().await;
}

pub async fn runs_are_listed_and_counted_in_their_project_only(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let [_, one, two] = three(&store).await;
    let structure_id = Some(StructureId::parse("s").unwrap());
    for n in 0..5 {
        let of = |name: &str| Append {
            structure_id: structure_id.clone(),
            ..append(&format!("{name}{n}"), vec![event("x")])
        };
        one.append(of("one")).await.unwrap();
        two.append(of("two")).await.unwrap();
    }
    let (all, of_structure) = (RunFilter::default(), RunFilter { structure_id, ..RunFilter::default() });
    for (at, name) in [(&one, "one"), (&two, "two")] {
        for filter in [&all, &of_structure] {
            let query = RunQuery { filter: filter.clone(), before: None, limit: 100 };
            let listed: Vec<String> =
                at.runs(&query).await.unwrap().runs.iter().map(|run| run.run_id.to_string()).collect();
            let expected: Vec<String> = (0..5).rev().map(|n| format!("{name}{n}")).collect();
            assert_eq!(listed, expected);
            assert_eq!(at.count_runs(filter).await.unwrap(), 5);
            let ids: Vec<String> =
                at.run_ids_at(filter, 1, 100).await.unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(ids, expected[1..]);
            // Page by page, to the end and not beyond.
            let (mut before, mut pages) = (None, Vec::new());
            loop {
                let page = at.runs(&RunQuery { before, limit: 2, ..query.clone() }).await.unwrap();
                pages.extend(page.runs.iter().map(|run| run.run_id.to_string()));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(pages, expected);
        }
    }
    store.close().await;
}

pub async fn projects_survive_reopen_flushed_or_not(fixture: impl Fixture) {
    for tuning in [NEVER_FLUSHED, ALWAYS_FLUSHED, tuning(7), NEVER_FLUSHED] {
        let (store, _) = fixture.open(tuning).await;
        let [default, one, two] = three(&store).await;
        for n in 0..10 {
            for (at, name) in [(&one, "one"), (&two, "two"), (&default, "default")] {
                at.append(append("r1", vec![event(&format!("{name} {n}"))])).await.unwrap();
            }
        }
        store.close().await;
    }
    let store = fixture.opened().await;
    let [default, one, two] = three(&store).await;
    for (at, name) in [(&one, "one"), (&two, "two"), (&default, "default")] {
        let texts = texts(at, &run("r1")).await;
        let expected: Vec<String> = (0..4).flat_map(|_| (0..10).map(|n| format!("{name} {n}"))).collect();
        assert_eq!(texts, expected, "{name}");
    }
    assert_eq!(texts(&one, &Scope::Feed).await.len(), 40);
    // A cursor from before the reopen stays valid in its project.
    assert!(Cursor::parse(&Cursor(40).to_text(&Scope::Feed, &one.history()), &Scope::Feed, &one.history()).is_ok());
    store.close().await;
}

pub async fn a_project_is_made_once_and_known_to_every_store_over_the_data(fixture: impl Fixture) {
    let store = fixture.opened().await;
    assert_eq!(store.project(&id("one")).await.unwrap(), None);
    let (one, two) = (id("one"), id("two"));
    let made = tokio::join!(store.create_project(&one), store.create_project(&one), store.create_project(&two));
    let made = [made.0, made.1, made.2].map(Result::unwrap);
    assert!(made[0] == made[1] && made[0] != made[2], "{made:?}");
    let (feed_one, feed_two) = (store.in_project(made[0]).history().feed, store.in_project(made[2]).history().feed);
    assert_ne!(feed_one, feed_two);
    store.close().await;
    let store = fixture.opened().await;
    assert_eq!(store.project(&id("one")).await.unwrap(), Some(made[0]));
    assert_eq!(store.create_project(&id("two")).await.unwrap(), made[2]);
    assert_eq!(store.in_project(made[0]).history().feed, feed_one);
    store.close().await;
}

pub async fn keys_are_listed_by_project(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let of =
        |number: u8, project: &str| runlog::domain::access::Key { project: id(project), ..crate::keys::key(number) };
    for (number, project) in [(1, "one"), (2, "two"), (3, "one"), (4, "default")] {
        store.keys().create(&of(number, project)).await.unwrap();
    }
    let project = id("one");
    let first = store.keys().list(Some(&project), None, 1).await.unwrap();
    assert_eq!(first.keys, [of(1, "one")]);
    let rest = store.keys().list(Some(&project), first.next.as_ref(), 10).await.unwrap();
    assert_eq!((rest.keys, rest.next), (vec![of(3, "one")], None));
    store.close().await;
}
