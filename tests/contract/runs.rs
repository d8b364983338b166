//! Rows of runs: the projection of the events, updated in the same transaction; and the list of runs.

use runlog::domain::projection::Lifecycle;
use runlog::domain::{AgentName, RunFilter, RunStatus, StructureId};
use runlog::store::{Append, RunQuery, SharedStore};

use crate::fixture::*;

const END: &str = r#"{"output":{"b":1, "a":12345678901234567890123},"prompt_tokens":18446744073709551615,
    "completion_tokens":2,"total_tokens":3,"cost_usd":0.1,"model":"m\u0000"}"#;

pub async fn the_row_of_a_run_follows_its_events(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let row = async |events: &[(&str, &str)]| {
        let events = events.iter().map(|(name, json)| typed(name, json)).collect();
        let appended = store.append(append("r", events)).await.unwrap();
        let row = store.run(&run_id("r")).await.unwrap();
        assert_eq!((appended.status, appended.last_seq), (row.status, row.last_seq));
        assert_eq!(store.extent(&run("r")).await.unwrap().end.status, row.status);
        row
    };
    assert_eq!(row(&[("step", "{}")]).await.status, RunStatus::Unspecified);
    assert_eq!(row(&[("run.created", "{}")]).await.status, RunStatus::Queued);
    assert!(row(&[("StructureRunStarting", "{}"), ("run_start", "{}")]).await.started_at.is_some());
    let asked = row(&[("human_input_requested", r#"{"question":"q\u0000é","context":{ "k" : 1e2}}"#)]).await;
    let pending = asked.pending_inputs[0].clone();
    assert_eq!((asked.status, pending.requested_seq), (RunStatus::AwaitingInput, 5));
    assert_eq!((pending.question.as_str(), pending.context_json.as_str()), ("q\0é", r#"{ "k" : 1e2}"#));
    let answered = row(&[("human_input_received", "{}")]).await;
    assert_eq!((answered.status, answered.pending_inputs), (RunStatus::Running, vec![]));
    let ended = row(&[("human_input_requested", "{}"), ("run_end", END), ("step", "{}")]).await;
    assert_eq!((ended.status, ended.pending_inputs, ended.last_seq), (RunStatus::Succeeded, vec![], 9));
    assert_eq!(ended.output_json.as_deref(), Some(r#"{"b":1, "a":12345678901234567890123}"#));
    let usage = ended.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.model.as_str()), (u64::MAX, 2, "m\0"));
    assert!(ended.completed_at.is_some());
    let failed = store.append(append("f", vec![typed("error", r#"{"why":"\ud800"}"#)])).await.unwrap();
    assert_eq!(failed.status, RunStatus::Failed);
    assert_eq!(store.run(&run_id("f")).await.unwrap().error_json.as_deref(), Some(r#"{"why":"\ud800"}"#));
}

pub async fn the_row_survives_reopen(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let named = Append {
        agent_name: Some(AgentName::parse("123").unwrap()),
        structure_id: Some(StructureId::parse("true").unwrap()),
        ..append("42", vec![typed("run_start", "{}"), typed("human_input_requested", r#"{"question":"?"}"#)])
    };
    store.append(named).await.unwrap();
    store.append(append("r", vec![typed("run_end", END)])).await.unwrap();
    let before = (store.run(&run_id("42")).await.unwrap(), store.run(&run_id("r")).await.unwrap());
    assert_eq!(before.0.agent_name.as_ref().map(AgentName::as_str), Some("123"));
    store.close().await;
    let store = fixture.opened().await;
    assert_eq!((store.run(&run_id("42")).await.unwrap(), store.run(&run_id("r")).await.unwrap()), before);
    let other = Append { agent_name: Some(AgentName::parse("late").unwrap()), ..append("42", vec![event("x")]) };
    store.append(other).await.unwrap();
    let after = store.run(&run_id("42")).await.unwrap();
    assert_eq!((after.agent_name, after.structure_id, after.created_at), {
        let before = before.0;
        (before.agent_name, before.structure_id, before.created_at)
    });
    assert_eq!((after.last_seq, after.pending_inputs[0].requested_seq), (3, 2));
}

pub async fn open_questions_are_kept_one_by_one_over_a_reopen_until_they_are_answered(fixture: impl Fixture) {
    let open = async |store: &SharedStore| {
        let run = store.run(&run_id("r")).await.unwrap();
        let open: Vec<_> = run.pending_inputs.iter().map(|q| (q.requested_seq, q.question.clone())).collect();
        (run.status, open)
    };
    let asked = |seq: u64| (seq, format!("{seq}?"));
    let ask = |seq: u64| typed("human_input_requested", &format!(r#"{{"question":"{seq}?","question_id":"q{seq}"}}"#));
    let answer = |id: &str| typed("human_input_received", &format!(r#"{{"question_id":"{id}"}}"#));
    let store = fixture.opened().await;
    store.append(append("r", vec![ask(1), ask(2)])).await.unwrap();
    store.append(append("r", vec![ask(3), ask(4), answer("q4")])).await.unwrap();
    assert_eq!(open(&store).await, (RunStatus::AwaitingInput, vec![asked(1), asked(2), asked(3)]));
    store.close().await;
    let store = fixture.opened().await;
    store.append(append("r", vec![answer("q2")])).await.unwrap();
    assert_eq!(open(&store).await, (RunStatus::AwaitingInput, vec![asked(1), asked(3)]));
    store.append(append("r", vec![typed("run.signal_applied", "{}")])).await.unwrap();
    assert_eq!(open(&store).await, (RunStatus::AwaitingInput, vec![asked(3)]));
    store.close().await;
    let store = fixture.opened().await;
    store.append(append("r", vec![typed("human_input_received", "{}")])).await.unwrap();
    assert_eq!(open(&store).await, (RunStatus::Running, vec![]));
    assert_eq!(store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap().runs.len(), 1);
}

pub async fn a_final_status_stays_unless_strict(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![typed("run.cancelled", "{}")])).await.unwrap();
    let late = store.append(append("r", vec![typed("run_start", "{}"), typed("run_end", "{}")])).await.unwrap();
    assert_eq!((late.status, late.last_seq), (RunStatus::Cancelled, 3));
}

pub async fn strict_refuses_a_way_out_of_a_final_status(fixture: impl Fixture) {
    let strict = Tuning { lifecycle: Lifecycle::Strict, ..Tuning::default() };
    let store = fixture.open(strict).await.0;
    store.append(append("r", vec![with_id("end", typed("run_end", "{}"))])).await.unwrap();
    store.close().await;
    let store = fixture.open(strict).await.0;
    let batch = vec![with_id("s", event("late")), typed("run_start", "{}")];
    assert_eq!(reason(store.append(append("r", batch)).await), "RUN_STATUS_FINAL");
    assert_eq!(store.extent(&run("r")).await.unwrap().end.last, 1, "the batch left nothing");
    let late = vec![with_id("s", event("late")), with_id("end", typed("run_end", "{}")), typed("run_end", "{}")];
    assert_eq!(seqs(&store.append(append("r", late)).await.unwrap()), [2, 1, 3]);
    let both = append("new", vec![typed("run_end", "{}"), typed("error", "{}")]);
    assert_eq!(reason(store.append(both).await), "RUN_STATUS_FINAL");
    assert_eq!(reason(store.run(&run_id("new")).await), "RUN_NOT_FOUND");
}

pub async fn a_cost_beyond_all_numbers_harms_nobody(fixture: impl Fixture) {
    let store = fixture.opened().await;
    for _ in 0..2 {
        store.append(append("r", vec![typed("run_end", r#"{"cost_usd":1.7e308}"#)])).await.unwrap();
    }
    assert!(store.run(&run_id("r")).await.unwrap().usage.unwrap().cost_usd.is_finite());
    store.close().await;
    let store = fixture.opened().await;
    assert_eq!(store.append(append("r", vec![event("x")])).await.unwrap().last_seq, 3);
    assert_eq!(store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap().runs.len(), 1);
}

pub async fn costs_read_back_exactly(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let cost_of = async |store: &SharedStore, n: u64| {
        store.run(&run_id(&format!("r{n}"))).await.unwrap().usage.unwrap().cost_usd.to_bits()
    };
    let mut costs = Vec::new();
    for n in 0..100 {
        // Mantissas of all kinds, with 16 or 17 digits in decimal form.
        let cost = f64::from_bits(0x3f00_0000_0000_0000 + n * 0x0000_9e37_79b9_7f4a);
        store
            .append(append(&format!("r{n}"), vec![typed("run_end", &format!("{{\"cost_usd\":{cost:?}}}"))]))
            .await
            .unwrap();
        costs.push(cost_of(&store, n).await);
    }
    for _ in 0..2 {
        store.close().await;
        let store = fixture.opened().await;
        for (n, cost) in (0..).zip(&costs) {
            store.append(append(&format!("r{n}"), vec![event("x")])).await.unwrap();
            assert_eq!(cost_of(&store, n).await, *cost, "a cost stays as it is");
        }
        store.close().await;
    }
}

pub async fn text_with_every_odd_character_reads_back(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let name = "\u{ad}\u{feff}\"\\'%_?é\u{10ffff}\u{2028}[]{}";
    let odd = Append {
        agent_name: Some(AgentName::parse(name).unwrap()),
        ..append("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", vec![with_id(name, event(name))])
    };
    store.append(odd.clone()).await.unwrap();
    let row = store.run(&odd.run_id).await.unwrap();
    assert_eq!((&row.run_id, row.agent_name.as_ref().unwrap().as_str()), (&odd.run_id, name));
    store.close().await;
    let store = fixture.opened().await;
    assert!(store.append(odd.clone()).await.unwrap().events[0].duplicate);
    assert_eq!(store.append(Append { events: vec![event("x")], ..odd }).await.unwrap().last_seq, 2);
    let filter = RunFilter { agent_name: Some(AgentName::parse(name).unwrap()), ..RunFilter::default() };
    let query = RunQuery { filter, limit: 1, ..RunQuery::default() };
    assert_eq!(store.runs(&query).await.unwrap().runs.len(), 1);
}

pub async fn runs_are_listed_newest_first_by_page_and_filter(fixture: impl Fixture) {
    let store = fixture.opened().await;
    for n in 0..30 {
        let name = ["run_start", "run_end", "error"][n % 3];
        let of = Append {
            agent_name: Some(AgentName::parse(["x", "y"][n % 2]).unwrap()),
            structure_id: (n % 5 == 0).then(|| StructureId::parse("s").unwrap()),
            ..append(&format!("r{n}"), vec![typed(name, "{}")])
        };
        store.append(of).await.unwrap();
    }
    store.append(append("r3", vec![event("later events do not move a run")])).await.unwrap();
    let expect =
        |keep: fn(usize) -> bool| (0..30).rev().filter(|n| keep(*n)).map(|n| format!("r{n}")).collect::<Vec<_>>();
    let x = || Some(AgentName::parse("x").unwrap());
    let s = || Some(StructureId::parse("s").unwrap());
    let ends = || vec![RunStatus::Succeeded, RunStatus::Failed];
    for limit in [1, 2, 3, 7, 29, 30, 31, 1_000] {
        let of = |filter| RunQuery { filter, limit, ..RunQuery::default() };
        let any = RunFilter::default;
        assert_eq!(listed(&store, &of(any())).await, expect(|_| true));
        assert_eq!(listed(&store, &of(RunFilter { agent_name: x(), ..any() })).await, expect(|n| n % 2 == 0));
        assert_eq!(listed(&store, &of(RunFilter { structure_id: s(), ..any() })).await, expect(|n| n % 5 == 0));
        assert_eq!(listed(&store, &of(RunFilter { statuses: ends(), ..any() })).await, expect(|n| n % 3 != 0));
        let all = RunFilter { agent_name: x(), structure_id: s(), statuses: ends(), ..any() };
        assert_eq!(listed(&store, &of(all)).await, expect(|n| n % 10 == 0 && n % 3 != 0));
    }
    let page = store.runs(&RunQuery { limit: 40, ..RunQuery::default() }).await.unwrap();
    assert!(page.next.is_none(), "all were there");
    for before in [i64::MIN, 0, 1] {
        let page = store.runs(&RunQuery { before: Some(before), limit: 5, ..RunQuery::default() }).await.unwrap();
        assert!(page.runs.is_empty() && page.next.is_none());
    }
}

pub async fn a_listing_looks_at_a_bounded_number_of_runs(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let empty = store.runs(&RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap();
    assert!(empty.runs.is_empty() && empty.next.is_none());
    store.append(append("wanted", vec![typed("run_end", "{}")])).await.unwrap();
    let mut receipts = Vec::new();
    for n in 0..10_050 {
        receipts.push(store.submit(append(&format!("r{n}"), vec![event("x")])).await.unwrap());
    }
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
    let filter = RunFilter { statuses: vec![RunStatus::Succeeded], ..RunFilter::default() };
    let query = RunQuery { filter, limit: 10, ..RunQuery::default() };
    let first = store.runs(&query).await.unwrap();
    assert!(first.runs.is_empty() && first.next.is_some(), "a page may be empty and have a next one");
    assert_eq!(listed(&store, &query).await, ["wanted"]);
}

pub async fn a_listing_of_large_outputs_comes_in_parts(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let output = typed("run_end", &format!("{{\"output\":\"{}\"}}", "x".repeat(1_000_000)));
    for n in 0..12 {
        store.append(append(&format!("r{n}"), vec![output.clone()])).await.unwrap();
    }
    let query = RunQuery { limit: 1_000, ..RunQuery::default() };
    let page = store.runs(&query).await.unwrap();
    assert!((1..8).contains(&page.runs.len()), "{} outputs of 1 MB in one page", page.runs.len());
    assert_eq!(listed(&store, &query).await.len(), 12);
}

pub async fn an_unknown_run_is_not_found(fixture: impl Fixture) {
    let store = fixture.opened().await;
    store.append(append("r", vec![event("x")])).await.unwrap();
    for unknown in ["R", "r2", "%"] {
        assert_eq!(reason(store.run(&run_id(unknown)).await), "RUN_NOT_FOUND");
        assert_eq!(reason(store.extent(&run(unknown)).await), "RUN_NOT_FOUND");
        assert_eq!(reason(store.read(&run(unknown), ascending(0, 1)).await), "RUN_NOT_FOUND");
    }
}

async fn listed(store: &SharedStore, query: &RunQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut names = Vec::new();
    loop {
        let page = store.runs(&query).await.unwrap();
        assert!(page.runs.len() <= query.limit);
        names.extend(page.runs.iter().map(|run| run.run_id.to_string()));
        let Some(next) = page.next else { return names };
        assert!(query.before.is_none_or(|before| next < before), "a listing goes on");
        query.before = Some(next);
    }
}

pub async fn ids_of_any_text_are_distinguished_by_their_bytes(fixture: impl Fixture) {
    let (long, short) = ("🦀".repeat(200), "🦀".repeat(199));
    let mut ids =
        vec!["a b", "a  b", " a b", "a b ", "A B", "é", "e\u{301}", "E\u{301}", "ﬁ", "fi", "straße", "STRASSE"];
    ids.extend(["i", "ı", "שלום", "\u{202e}a", "a", "a\u{2028}", "%", "_", "a%", "'", "\\", "\"", "\u{10ffff}"]);
    ids.extend(["\u{feff}", &long, &short]);
    let store = fixture.opened().await;
    // Two appends with the ids in opposite order must not deadlock.
    let write = async |ids: Vec<&str>| {
        let appends = ids.into_iter().map(|id| store.append(append(id, vec![event("x")])));
        futures_util::future::join_all(appends).await.into_iter().for_each(|appended| drop(appended.unwrap()));
    };
    tokio::join!(write(ids.clone()), write(ids.iter().rev().copied().collect()));
    store.close().await;
    let store = fixture.opened().await;
    for id in &ids {
        let named = Append { structure_id: Some(StructureId::parse(id).unwrap()), ..append(id, vec![event("y")]) };
        assert_eq!(store.append(named).await.unwrap().last_seq, 3, "{id:?}");
        let row = store.run(&run_id(id)).await.unwrap();
        assert_eq!((row.run_id.as_str(), row.last_seq), (*id, 3));
    }
    let listed = listed(&store, &RunQuery { limit: 100, ..RunQuery::default() }).await;
    assert_eq!(listed.len(), ids.len());
    assert!(ids.iter().all(|id| listed.iter().any(|run| run == id)), "{listed:?}");
}
