//! Promise 5 for ListEvents: pages in both directions, and cursors that stay valid.

use runlog::pb;
use runlog::pb::list_events_request::Scope;
use tonic::Code;

use crate::builders::{notes, numbered};
use crate::harness::TestServer;
use crate::reading::{list_all_runs, list_run, seqs};
use crate::refusal::{refused, refused_field};

/// Reads page after page until the last; returns the sizes, the events and the last cursor.
async fn read_all(server: &TestServer, mut request: pb::ListEventsRequest) -> (Vec<usize>, Vec<pb::Event>, String) {
    let (mut sizes, mut events) = (Vec::new(), Vec::new());
    loop {
        let page = server.list(request.clone()).await.unwrap();
        sizes.push(page.events.len());
        events.extend(page.events);
        assert!(!page.next_cursor.is_empty(), "every page has a cursor, also the last");
        request.cursor = page.next_cursor;
        if !page.has_more {
            return (sizes, events, request.cursor);
        }
    }
}

#[tokio::test]
async fn a_run_is_read_page_by_page_to_its_end_and_polled_from_there() {
    let server = TestServer::start().await;
    server.publish("r", notes(25)).await;
    let request = || pb::ListEventsRequest { page_size: 10, ..list_run("r") };
    let (sizes, events, cursor) = read_all(&server, request()).await;
    assert_eq!((sizes, seqs(&events)), (vec![10, 10, 5], (1..=25).collect()));
    let at_end = pb::ListEventsRequest { cursor, ..request() };
    let nothing = server.list(at_end.clone()).await.unwrap();
    assert_eq!((nothing.events.len(), nothing.has_more, nothing.last_seq), (0, false, 25));
    assert_eq!(nothing.next_cursor, at_end.cursor, "polling keeps its place");
    server.publish("r", notes(2)).await;
    let news = server.list(at_end).await.unwrap();
    assert_eq!((seqs(&news.events), news.has_more, news.last_seq), (vec![26, 27], false, 27));
    assert_eq!(news.next_cursor, "27", "in a run the cursor is the decimal seq");
}

#[tokio::test]
async fn a_run_is_read_backwards_page_by_page_to_its_beginning() {
    let server = TestServer::start().await;
    server.publish("r", notes(25)).await;
    let request = pb::ListEventsRequest { page_size: 10, descending: true, ..list_run("r") };
    let (sizes, events, cursor) = read_all(&server, request.clone()).await;
    assert_eq!((sizes, seqs(&events)), (vec![10, 10, 5], (1..=25).rev().collect()));
    let before_all = server.list(pb::ListEventsRequest { cursor, ..request.clone() }).await.unwrap();
    assert_eq!((before_all.events.len(), before_all.has_more), (0, false));
    let inside = pb::ListEventsRequest { cursor: "7".to_owned(), page_size: 3, ..request };
    let page = server.list(inside).await.unwrap();
    assert_eq!((seqs(&page.events), page.next_cursor.as_str(), page.has_more), (vec![6, 5, 4], "4", true));
}

#[tokio::test]
async fn a_page_that_ends_with_the_last_event_has_no_more() {
    let server = TestServer::start().await;
    server.publish("r", notes(20)).await;
    for descending in [false, true] {
        let request = pb::ListEventsRequest { page_size: 10, descending, ..list_run("r") };
        assert_eq!(read_all(&server, request).await.0, [10, 10]);
        let request = pb::ListEventsRequest { page_size: 20, descending, ..list_run("r") };
        assert_eq!(read_all(&server, request).await.0, [20]);
    }
}

#[tokio::test]
async fn a_page_holds_100_by_default_and_at_most_1000() {
    let server = TestServer::start().await;
    server.publish("r", notes(1_000)).await;
    server.publish("r", notes(1)).await;
    for (page_size, count) in [(0, 100), (1, 1), (999, 999), (1_000, 1_000)] {
        let page = server.list(pb::ListEventsRequest { page_size, ..list_run("r") }).await.unwrap();
        assert_eq!((page.events.len(), page.has_more), (count, true));
    }
    for page_size in [1_001, i32::MAX, -1, i32::MIN] {
        let refusal = server.list(pb::ListEventsRequest { page_size, ..list_run("r") }).await;
        refused_field(refusal, "page_size");
    }
}

#[tokio::test]
async fn all_runs_are_read_in_the_order_of_commits_in_both_directions() {
    let server = TestServer::start().await;
    let mut expected = Vec::new();
    for n in 1..=30 {
        let run_id = ["a", "b", "c"][n % 3];
        let answer = server.publish(run_id, vec![numbered(n), numbered(n)]).await;
        expected.extend(answer.events.iter().map(|event| (run_id.to_owned(), event.seq)));
    }
    let order = |events: &[pb::Event]| events.iter().map(|e| (e.run_id.clone(), e.seq)).collect::<Vec<_>>();
    let request = pb::ListEventsRequest { page_size: 7, ..list_all_runs() };
    let (sizes, events, cursor) = read_all(&server, request.clone()).await;
    assert_eq!(order(&events), expected);
    assert_eq!(sizes, [7, 7, 7, 7, 7, 7, 7, 7, 4]);
    server.publish("d", notes(1)).await;
    let news = server.list(pb::ListEventsRequest { cursor, ..request.clone() }).await.unwrap();
    assert_eq!((order(&news.events), news.last_seq), (vec![("d".to_owned(), 1)], 0));
    let (_, events, _) = read_all(&server, pb::ListEventsRequest { descending: true, ..request }).await;
    expected.push(("d".to_owned(), 1));
    expected.reverse();
    assert_eq!(order(&events), expected);
}

#[tokio::test]
async fn an_empty_store_is_polled_from_its_beginning() {
    for descending in [false, true] {
        let server = TestServer::start().await;
        let page = server.list(pb::ListEventsRequest { descending, ..list_all_runs() }).await.unwrap();
        assert_eq!((page.events.len(), page.has_more, page.last_seq), (0, false, 0));
        server.publish("r", notes(1)).await;
        let cursor = page.next_cursor;
        let page = server.list(pb::ListEventsRequest { cursor, ..list_all_runs() }).await.unwrap();
        assert_eq!(seqs(&page.events), [1]);
    }
}

#[tokio::test]
async fn a_run_without_events_is_not_found_and_a_scope_is_needed() {
    let server = TestServer::start().await;
    let refusal = refused(server.list(list_run("nobody")).await).is(Code::NotFound, "RUN_NOT_FOUND");
    assert_eq!(refusal.metadata["run_id"], "nobody");
    refused_field(server.list(pb::ListEventsRequest { scope: None, ..list_all_runs() }).await, "scope");
    let empty = Some(Scope::RunId(String::new()));
    refused_field(server.list(pb::ListEventsRequest { scope: empty, ..list_all_runs() }).await, "run_id");
}

#[tokio::test]
async fn pages_read_while_others_write_have_no_gap() {
    let server = TestServer::start().await;
    server.publish("r", notes(1)).await;
    let mut writer = server.events().await;
    let writing = tokio::spawn(async move {
        for _ in 0..100 {
            writer.publish(crate::builders::publish_request("r", notes(10))).await.unwrap();
        }
    });
    let mut request = pb::ListEventsRequest { page_size: 13, ..list_run("r") };
    let mut seen = Vec::new();
    while seen.len() < 1_001 {
        let page = server.list(request.clone()).await.unwrap();
        assert!(page.events.iter().all(|event| event.seq <= page.last_seq), "last_seq is no older than the page");
        request.cursor = page.next_cursor;
        seen.extend(seqs(&page.events));
    }
    writing.await.unwrap();
    assert_eq!(seen, (1..=1_001).collect::<Vec<_>>());
}
