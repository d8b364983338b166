//! Runs by time of creation and by a part of their names, in lists and counts.

use jiff::{Span, Timestamp, ToSpan};
use runlog::domain::{AgentName, RunFilter, RunStatus, SearchText};
use runlog::store::{Append, Import, Recorded, RunQuery, SharedStore};

use crate::fixture::*;

/// Stores runs that were created at these times, in this order.
pub async fn created_at(store: &SharedStore, runs: &[(String, Timestamp)]) {
    let import = Import::default();
    for (run, at) in runs {
        let events = vec![with_id(&format!("of {run}"), event("x"))];
        let recorded = Some(Box::new(Recorded { at: vec![*at], import: import.clone(), first_seq: None }));
        store.append(Append { recorded, ..expecting(0, append(run, events)) }).await.unwrap();
    }
}

/// Ids of the matching runs, from the list and from the numbered pages, which agree with the count.
async fn found(store: &SharedStore, filter: &RunFilter) -> Vec<String> {
    let query = RunQuery { filter: filter.clone(), before: None, limit: 1_000 };
    let page = store.runs(&query).await.unwrap();
    assert!(page.next.is_none());
    let listed: Vec<String> = page.runs.iter().map(|run| run.run_id.to_string()).collect();
    let ids: Vec<String> = store.run_ids_at(filter, 0, 1_000).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(listed, ids);
    assert_eq!(store.count_runs(filter).await.unwrap(), listed.len() as u64);
    listed
}

pub async fn runs_are_found_by_the_time_of_their_creation_to_the_nanosecond(fixture: impl Fixture) {
    let store = fixture.opened().await;
    // As text with a `Z`, 10:00:00 comes after 10:00:00.5. The order of the creation is not the order of the times.
    let clocks = [
        "10:00:00.5",
        "10:00:00",
        "09:59:59.999999999",
        "10:00:00.123456789",
        "10:00:00.12",
        "10:00:01",
        "10:00:00.1",
        "10:00:00.123",
        "10:00:00.1234",
        "10:00:10",
    ];
    let times = clocks.map(|clock| format!("2026-04-02T{clock}Z").parse::<Timestamp>().unwrap());
    let early = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z"].map(|text| text.parse::<Timestamp>().unwrap());
    let runs: Vec<(String, Timestamp)> =
        times.into_iter().chain(early).enumerate().map(|(n, at)| (format!("r{n}"), at)).collect();
    created_at(&store, &runs).await;
    let expected = |keep: &dyn Fn(Timestamp) -> bool| -> Vec<String> {
        runs.iter().rev().filter(|(_, at)| keep(*at)).map(|(run, _)| run.clone()).collect()
    };
    let around = |at: Timestamp, by: Span| at.checked_add(by).unwrap();
    for time in times {
        for bound in
            [around(time, -(1.nanosecond())), time, around(time, 1.nanosecond()), around(time, 1.millisecond())]
        {
            let from = RunFilter { created_from: Some(bound), ..RunFilter::default() };
            assert_eq!(found(&store, &from).await, expected(&|at| at >= bound), "from {bound}");
            let until = RunFilter { created_until: Some(bound), ..RunFilter::default() };
            assert_eq!(found(&store, &until).await, expected(&|at| at < bound), "until {bound}");
        }
    }
    let [from, until] = [times[6], times[0]];
    let both = RunFilter { created_from: Some(from), created_until: Some(until), ..RunFilter::default() };
    assert_eq!(found(&store, &both).await, expected(&|at| from <= at && at < until));
    let none = RunFilter { created_from: Some(until), created_until: Some(from), ..RunFilter::default() };
    assert!(found(&store, &none).await.is_empty(), "a range that ends before it begins");
}

pub async fn runs_are_found_by_a_part_of_their_id_or_their_agent(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let runs = [
        ("Alpha", Some("Writer")),
        ("beta", None),
        ("a%b", None),
        ("a_b", Some("rÉader")),
        ("aXb", Some("50% \\ 'x'")),
        ("É", None),
    ];
    for (run, agent) in runs {
        let agent_name = agent.map(|name| AgentName::parse(name).unwrap());
        store.append(Append { agent_name, ..append(run, vec![typed("run_start", "{}")]) }).await.unwrap();
    }
    store.append(append("beta", vec![typed("run_end", "{}")])).await.unwrap();
    let of = |text: &str| RunFilter { text: Some(SearchText::parse(text).unwrap()), ..RunFilter::default() };
    for (text, expected) in [
        ("alpha", &["Alpha"][..]),
        ("ALPHA", &["Alpha"]),
        ("write", &["Alpha"]),
        ("WRITER", &["Alpha"]),
        ("et", &["beta"]),
        ("%", &["aXb", "a%b"]),
        ("a%b", &["a%b"]),
        ("_", &["a_b"]),
        ("a_B", &["a_b"]),
        ("\\ '", &["aXb"]),
        // Only ASCII letters match in either case.
        ("É", &["É", "a_b"]),
        ("é", &[]),
        ("alphabeta", &[]),
        ("null", &[]),
    ] {
        assert_eq!(found(&store, &of(text)).await, expected, "{text:?}");
    }
    // The number of the project is no part of an id.
    for digit in ["1", "2", "3", "4", "6", "7", "8", "9"] {
        assert!(found(&store, &of(digit)).await.is_empty(), "{digit}");
    }
    let ended = RunFilter { statuses: vec![RunStatus::Succeeded], ..of("a") };
    assert_eq!(found(&store, &ended).await, ["beta"]);
}
