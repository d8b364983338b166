//! ListRuns: latest created first, filtered, page by page.

use runlog::pb;
use runlog::pb::RunStatus;
use tonic::Code;

use crate::builders::json_event;
use crate::harness::TestServer;
use crate::refusal::{refused, refused_field};

/// Twelve runs: r0 … r11; every third has ended, every fourth is of agent `a`, every second of structure `s`.
async fn with_runs() -> TestServer {
    let server = TestServer::start().await;
    for n in 0..12 {
        let request = pb::CreateRunRequest {
            run_id: format!("r{n}"),
            agent_name: if n % 4 == 0 { "a" } else { "b" }.to_owned(),
            structure_id: if n % 2 == 0 { "s" } else { "" }.to_owned(),
            ..Default::default()
        };
        server.runs().await.create_run(request).await.unwrap();
        if n % 3 == 0 {
            server.publish(&format!("r{n}"), vec![json_event("run_end", r#"{"output":1,"model":"m"}"#)]).await;
        }
    }
    server
}

fn at(seconds: i64, nanos: i32) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos }
}

/// All pages: the numbers of the runs, and the size of each page.
async fn list(server: &TestServer, mut request: pb::ListRunsRequest) -> (Vec<usize>, Vec<usize>) {
    let mut runs = server.runs().await;
    let (mut numbers, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = runs.list_runs(request.clone()).await.unwrap().into_inner();
        sizes.push(page.runs.len());
        for run in page.runs {
            numbers.push(run.run_id[1..].parse().unwrap());
            assert_eq!(server.run(&run.run_id).await, run, "the same as by itself");
        }
        if page.next_cursor.is_empty() {
            return (numbers, sizes);
        }
        request.cursor = page.next_cursor;
    }
}

#[tokio::test]
async fn the_latest_created_come_first_page_by_page_also_after_a_restart() {
    let mut server = with_runs().await;
    for _ in 0..2 {
        let all: Vec<_> = (0..12).rev().collect();
        assert_eq!(list(&server, pb::ListRunsRequest::default()).await, (all.clone(), vec![12]));
        for (page_size, most) in [(1, 1), (4, 4), (5, 5), (11, 11), (12, 12), (1_000, 12)] {
            let (numbers, sizes) = list(&server, pb::ListRunsRequest { page_size, ..Default::default() }).await;
            assert_eq!(numbers, all);
            assert!(sizes.iter().all(|size| *size <= most));
        }
        server.restart().await;
    }
}

#[tokio::test]
async fn runs_created_while_pages_are_read_do_not_shift_them() {
    let server = with_runs().await;
    let mut runs = server.runs().await;
    let first = pb::ListRunsRequest { page_size: 5, ..Default::default() };
    let page = runs.list_runs(first.clone()).await.unwrap().into_inner();
    server.publish("r12", vec![json_event("x", "{}")]).await;
    server.publish("r11", vec![json_event("x", "{}")]).await;
    let rest = pb::ListRunsRequest { cursor: page.next_cursor, ..first };
    assert_eq!(list(&server, rest).await.0, [6, 5, 4, 3, 2, 1, 0]);
}

#[tokio::test]
async fn every_part_of_the_filter_that_is_set_must_match() {
    let server = with_runs().await;
    let filter = |statuses: &[RunStatus], agent: &str, structure: &str| pb::ListRunsRequest {
        page_size: 2,
        statuses: statuses.iter().map(|status| (*status).into()).collect(),
        agent_name: agent.to_owned(),
        structure_id: structure.to_owned(),
        ..Default::default()
    };
    let (ended, queued) = (RunStatus::Succeeded, RunStatus::Queued);
    for (request, expected) in [
        (filter(&[ended], "", ""), &[9, 6, 3, 0][..]),
        (filter(&[queued], "", ""), &[11, 10, 8, 7, 5, 4, 2, 1]),
        (filter(&[ended, queued, ended], "", ""), &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (filter(&[RunStatus::Failed], "", ""), &[]),
        (filter(&[], "a", ""), &[8, 4, 0]),
        (filter(&[], "A", ""), &[]),
        (filter(&[], "", "s"), &[10, 8, 6, 4, 2, 0]),
        (filter(&[ended], "b", "s"), &[6]),
    ] {
        assert_eq!(list(&server, request.clone()).await.0, expected, "{request:?}");
    }
}

#[tokio::test]
async fn runs_are_listed_by_time_and_text_and_their_usage_is_summed() {
    let server = with_runs().await;
    let all: Vec<usize> = (0..12).rev().collect();
    let (default, early, late) = (pb::ListRunsRequest::default, Some(at(0, 0)), Some(at(200_000_000_000, 0)));
    for (request, expected) in [
        (pb::ListRunsRequest { text: "R1".to_owned(), ..default() }, &[11, 10, 1][..]),
        (pb::ListRunsRequest { text: "A".to_owned(), page_size: 1, ..default() }, &[8, 4, 0]),
        (pb::ListRunsRequest { text: "_".to_owned(), ..default() }, &[]),
        (pb::ListRunsRequest { created_from: early, created_until: late, ..default() }, &all),
        (pb::ListRunsRequest { created_from: late, ..default() }, &[]),
        (pb::ListRunsRequest { created_until: early, ..default() }, &[]),
    ] {
        assert_eq!(list(&server, request.clone()).await.0, expected, "{request:?}");
    }
    let mut runs = server.runs().await;
    let by_model = pb::GetUsageRequest { group_by: pb::UsageGrouping::Model.into(), ..Default::default() };
    let usage = runs.get_usage(by_model).await.unwrap().into_inner();
    let groups: Vec<_> = usage.groups.into_iter().map(|group| (group.key, group.totals.unwrap().runs)).collect();
    assert_eq!(groups, [(Some(String::new()), 8), (Some("m".to_owned()), 4)]);
    assert!(usage.complete && usage.total.unwrap().runs == 12);
    let by_status = pb::GetUsageRequest { group_by: pb::UsageGrouping::Status.into(), ..Default::default() };
    let usage = runs.get_usage(by_status.clone()).await.unwrap().into_inner();
    let groups: Vec<_> =
        usage.groups.into_iter().map(|group| (group.key.unwrap(), group.totals.unwrap().runs)).collect();
    assert_eq!(groups, [("QUEUED".to_owned(), 8), ("SUCCEEDED".to_owned(), 4)]);
    let of_text = pb::GetUsageRequest { text: "R1".to_owned(), ..by_status };
    assert_eq!(runs.get_usage(of_text).await.unwrap().into_inner().total.unwrap().runs, 3);
    let of_agent = pb::GetUsageRequest { agent_name: "a".to_owned(), statuses: vec![6], ..Default::default() };
    assert_eq!(runs.get_usage(of_agent).await.unwrap().into_inner().total.unwrap().runs, 1);
    for (request, field) in [
        (pb::GetUsageRequest { group_by: 9, ..Default::default() }, "group_by"),
        (pb::GetUsageRequest { statuses: vec![0], ..Default::default() }, "statuses[0]"),
        (pb::GetUsageRequest { text: "x".repeat(201), ..Default::default() }, "text"),
        (pb::GetUsageRequest { created_from: Some(at(0, -1)), ..Default::default() }, "created_from"),
        (pb::GetUsageRequest { created_until: Some(at(i64::MIN, 0)), ..Default::default() }, "created_until"),
    ] {
        refused_field(runs.get_usage(request).await, field);
    }
}

#[tokio::test]
async fn a_page_of_runs_with_large_documents_ends_early_and_goes_on() {
    let server = TestServer::start().await;
    let large = "x".repeat(1_000_000);
    for n in 0..20 {
        let run_id = format!("r{n}");
        server.publish(&run_id, vec![json_event("run_end", &format!(r#"{{"output":"{large}"}}"#))]).await;
        if n % 5 == 0 {
            server.publish(&run_id, vec![json_event("error", &format!("\"{large}\""))]).await;
        }
    }
    let (numbers, sizes) = list(&server, pb::ListRunsRequest::default()).await;
    assert_eq!(numbers, (0..20).rev().collect::<Vec<_>>());
    assert!(sizes.len() >= 6, "each page is under the 4 MiB that clients take: {sizes:?}");
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
}

#[tokio::test]
async fn no_runs_are_an_empty_page() {
    let server = TestServer::start().await;
    assert_eq!(list(&server, pb::ListRunsRequest::default()).await, (vec![], vec![0]));
}

#[tokio::test]
async fn what_cannot_be_listed_is_refused_by_name() {
    let server = with_runs().await;
    let mut runs = server.runs().await;
    let default = pb::ListRunsRequest::default;
    for (request, field) in [
        (pb::ListRunsRequest { page_size: -1, ..default() }, "page_size"),
        (pb::ListRunsRequest { page_size: 1_001, ..default() }, "page_size"),
        (pb::ListRunsRequest { cursor: "x".to_owned(), ..default() }, "cursor"),
        (pb::ListRunsRequest { cursor: "r1-0".to_owned(), ..default() }, "cursor"),
        (pb::ListRunsRequest { cursor: "r1--1".to_owned(), ..default() }, "cursor"),
        (pb::ListRunsRequest { cursor: "r1-ffffffffffffffff".to_owned(), ..default() }, "cursor"),
        (pb::ListRunsRequest { statuses: vec![6, 0], ..default() }, "statuses[1]"),
        (pb::ListRunsRequest { statuses: vec![9], ..default() }, "statuses[0]"),
        (pb::ListRunsRequest { statuses: vec![-1], ..default() }, "statuses[0]"),
        (pb::ListRunsRequest { agent_name: "x".repeat(201), ..default() }, "agent_name"),
        (pb::ListRunsRequest { structure_id: "a\n".to_owned(), ..default() }, "structure_id"),
        (pb::ListRunsRequest { text: "x".repeat(201), ..default() }, "text"),
        (pb::ListRunsRequest { created_from: Some(at(0, -1)), ..default() }, "created_from"),
        (pb::ListRunsRequest { created_until: Some(at(i64::MAX, 0)), ..default() }, "created_until"),
    ] {
        refused_field(runs.list_runs(request).await, field);
    }
    for bad in ["", "a\n", &"x".repeat(201)] {
        refused_field(runs.get_run(pb::GetRunRequest { run_id: bad.to_owned() }).await, "run_id");
    }
    refused(runs.get_run(pb::GetRunRequest { run_id: "none".to_owned() }).await).is(Code::NotFound, "RUN_NOT_FOUND");
}
