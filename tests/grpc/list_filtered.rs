//! Filters of ListEvents: filtered events keep their seqs, and selective filters are cheap.

use runlog::pb;

use crate::builders::{json_event, notes};
use crate::harness::TestServer;
use crate::reading::{list_all_runs, list_run, seqs, types};
use crate::refusal::refused_field;

const TYPES: [&str; 8] =
    ["run.created", "run.worker.started", "step", "step.done", "steps", "mine", "run_start", "run."];

async fn with_all_types() -> TestServer {
    let server = TestServer::start().await;
    server.publish("r", TYPES.map(|name| json_event(name, "{}")).into()).await;
    server
}

async fn passing(server: &TestServer, filter: Option<pb::EventFilter>) -> Vec<u64> {
    let page = server.list(pb::ListEventsRequest { filter, ..list_run("r") }).await.unwrap();
    assert!(!page.has_more);
    assert_eq!((page.next_cursor.as_str(), page.last_seq), ("8", 8), "the cursor passes what the filter holds back");
    seqs(&page.events)
}

#[tokio::test]
async fn types_match_whole_or_by_their_beginning() {
    let server = with_all_types().await;
    let all: Vec<u64> = (1..=8).collect();
    for (patterns, expected) in [
        (&[][..], &all[..]),
        (&["*"], &all),
        (&["step"], &[3]),
        (&["step.*"], &[4]),
        (&["step*"], &[3, 4, 5]),
        (&["run.*"], &[1, 2, 8]),
        (&["run*"], &[1, 2, 7, 8]),
        (&["mine", "step.*", "mine"], &[4, 6]),
        (&["nothing"], &[]),
        (&["Step"], &[]),
    ] {
        assert_eq!(passing(&server, types(patterns)).await, expected, "{patterns:?}");
    }
}

#[tokio::test]
async fn origins_match_and_both_parts_must() {
    let server = with_all_types().await;
    let filter = |patterns: &[&str], origins: &[pb::Origin]| {
        let origins = origins.iter().map(|origin| (*origin).into()).collect();
        Some(pb::EventFilter { origins, ..types(patterns).unwrap() })
    };
    let (system, user) = (pb::Origin::System, pb::Origin::User);
    assert_eq!(passing(&server, filter(&[], &[system])).await, [1, 2, 8]);
    assert_eq!(passing(&server, filter(&[], &[user])).await, [3, 4, 5, 6, 7]);
    assert_eq!(passing(&server, filter(&[], &[user, system, user])).await, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(passing(&server, filter(&["run*"], &[user])).await, [7]);
}

#[tokio::test]
async fn pages_are_full_of_what_passes_in_both_directions() {
    let server = TestServer::start().await;
    let batch = |n: usize| (0..n).map(|at| json_event(if at % 10 == 0 { "rare" } else { "common" }, "{}")).collect();
    server.publish("r", batch(1_000)).await;
    for descending in [false, true] {
        let mut request =
            pb::ListEventsRequest { page_size: 30, descending, filter: types(&["rare"]), ..list_run("r") };
        let (mut sizes, mut found) = (Vec::new(), Vec::new());
        loop {
            let page = server.list(request.clone()).await.unwrap();
            sizes.push(page.events.len());
            found.extend(seqs(&page.events));
            request.cursor = page.next_cursor;
            if !page.has_more {
                break;
            }
        }
        assert_eq!(sizes, [30, 30, 30, 10]);
        found.sort_unstable();
        assert_eq!(found, (0..100).map(|n| n * 10 + 1).collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn a_filter_that_nothing_passes_makes_progress_by_bounded_steps() {
    let server = TestServer::start().await;
    for _ in 0..50 {
        server.publish("r", notes(1_000)).await;
    }
    server.publish("r", vec![json_event("needle", "{}")]).await;
    for scope in [list_run("r"), list_all_runs()] {
        let mut request = pb::ListEventsRequest { filter: types(&["needle"]), ..scope };
        let mut steps = Vec::new();
        let found = loop {
            let page = server.list(request.clone()).await.unwrap();
            if !page.has_more {
                break seqs(&page.events);
            }
            assert!(page.events.is_empty());
            assert_ne!(page.next_cursor, request.cursor, "each page goes on");
            request.cursor = page.next_cursor.clone();
            steps.push(page.next_cursor);
        };
        assert_eq!(found, [50_001]);
        assert!((2..=10).contains(&steps.len()), "no call reads the whole log: {steps:?}");
    }
}

#[tokio::test]
async fn a_filter_over_large_events_stops_by_bytes_too() {
    let server = TestServer::start().await;
    let large = json_event("large", &format!("\"{}\"", "x".repeat((1 << 20) - 2)));
    for _ in 0..48 {
        server.publish("r", vec![large.clone(), large.clone(), large.clone()]).await;
    }
    let request = pb::ListEventsRequest { filter: types(&["needle"]), ..list_run("r") };
    let page = server.list(request).await.unwrap();
    assert!(page.events.is_empty() && page.has_more, "144 MiB are not read in one call");
}

#[tokio::test]
async fn a_filter_that_cannot_be_is_refused_by_its_place() {
    let server = with_all_types().await;
    let filtered = async |filter: pb::EventFilter| {
        server.list(pb::ListEventsRequest { filter: Some(filter), ..list_run("r") }).await
    };
    for bad in ["", "*.done", "a*b", "**", &"x".repeat(201)] {
        refused_field(filtered(types(&["ok", bad]).unwrap()).await, "filter.types[1]");
    }
    let many = vec!["x".to_owned(); 101];
    refused_field(filtered(pb::EventFilter { types: many, ..Default::default() }).await, "filter.types");
    let run_ids = vec!["r".to_owned(), String::new()];
    refused_field(filtered(pb::EventFilter { run_ids, ..Default::default() }).await, "filter.run_ids[1]");
    let agent_names = vec!["a".to_owned(); 101];
    refused_field(filtered(pb::EventFilter { agent_names, ..Default::default() }).await, "filter.agent_names");
    for number in [0, 3, -1] {
        let origins = vec![pb::Origin::User.into(), number];
        refused_field(filtered(pb::EventFilter { origins, ..Default::default() }).await, "filter.origins[1]");
    }
}
