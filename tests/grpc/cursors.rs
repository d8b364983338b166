//! Promise 5: one kind of cursor, exclusive, valid for ever or refused by name.

use runlog::domain::FeedCursor;
use runlog::pb;
use tonic::{Code, Status};

use crate::builders::notes;
use crate::harness::TestServer;
use crate::reading::{after, follow_all_runs, follow_run, list_all_runs, list_run, seqs};
use crate::refusal::{Refusal, refused};

/// The results of a cursor in all requests: a page in both directions, and the start of a subscription.
async fn everywhere(server: &TestServer, run: Option<&str>, cursor: &str) -> Vec<Result<Vec<u64>, Status>> {
    let mut outcomes = Vec::new();
    for descending in [false, true] {
        let list = run.map_or_else(list_all_runs, list_run);
        let request = pb::ListEventsRequest { cursor: cursor.to_owned(), descending, ..list };
        let page = server.list(request).await;
        outcomes.push(page.map(|page| seqs(&page.events)));
    }
    let follow = run.map_or_else(follow_all_runs, follow_run);
    let reader = server.try_subscribe(pb::SubscribeRequest { start: after(cursor), ..follow }).await;
    outcomes.push(match reader {
        Ok(mut reader) => Ok(seqs(&reader.replay().await.0)),
        Err(status) => Err(status),
    });
    outcomes
}

async fn refusals(server: &TestServer, run: Option<&str>, cursor: &str) -> Vec<Refusal> {
    everywhere(server, run, cursor).await.into_iter().map(refused).collect()
}

async fn feed_cursor(server: &TestServer) -> String {
    server.list(list_all_runs()).await.unwrap().next_cursor
}

#[tokio::test]
async fn a_malformed_cursor_is_refused_by_name() {
    let server = TestServer::start().await;
    server.publish("r", notes(3)).await;
    let good = feed_cursor(&server).await;
    let upper = good.to_uppercase();
    let longer = format!("{good}0");
    for (run, bad) in [
        (Some("r"), "x"),
        (Some("r"), "-1"),
        (Some("r"), "+1"),
        (Some("r"), "01"),
        (Some("r"), " 1"),
        (Some("r"), "1.0"),
        (Some("r"), "١"),
        (Some("r"), "99999999999999999999999"),
        (Some("r"), good.as_str()),
        (None, "1"),
        (None, "x"),
        (None, "f1-"),
        (None, upper.as_str()),
        (None, longer.as_str()),
        (None, &good[..good.len() - 1]),
    ] {
        for refusal in refusals(&server, run, bad).await {
            let refusal = refusal.is(Code::InvalidArgument, "CURSOR_INVALID").names("cursor");
            assert_eq!(refusal.metadata["cursor"], bad);
        }
    }
}

#[tokio::test]
async fn a_cursor_of_another_store_is_refused_by_name() {
    let (server, other) = (TestServer::start().await, TestServer::start().await);
    server.publish("r", notes(3)).await;
    other.publish("r", notes(3)).await;
    for refusal in refusals(&server, None, &feed_cursor(&other).await).await {
        let refusal = refusal.is(Code::InvalidArgument, "CURSOR_INVALID").names("cursor");
        assert!(refusal.message.contains("another store"), "{}", refusal.message);
    }
}

#[tokio::test]
async fn a_cursor_beyond_the_end_is_refused_and_the_error_has_the_end() {
    let server = TestServer::start().await;
    server.publish("r", notes(3)).await;
    let end = feed_cursor(&server).await;
    let beyond = FeedCursor::parse(&end).unwrap().at(4).to_string();
    for (run, cursor, end) in [(Some("r"), "4", "3"), (Some("r"), "9223372036854775807", "3"), (None, &beyond, &end)] {
        for refusal in refusals(&server, run, cursor).await {
            let refusal = refusal.is(Code::OutOfRange, "CURSOR_BEYOND_END").names("cursor");
            assert_eq!((&*refusal.metadata["cursor"], &*refusal.metadata["end_cursor"]), (cursor, end));
        }
    }
}

#[tokio::test]
async fn a_cursor_is_exclusive_and_good_after_a_restart() {
    let mut server = TestServer::start().await;
    server.publish("r", notes(3)).await;
    let page = server.list(pb::ListEventsRequest { page_size: 2, ..list_all_runs() }).await.unwrap();
    for _ in 0..2 {
        for (run, cursor) in [(Some("r"), "2"), (None, page.next_cursor.as_str())] {
            let outcomes: Vec<_> = everywhere(&server, run, cursor).await.into_iter().map(Result::unwrap).collect();
            assert_eq!(outcomes, [vec![3], vec![1], vec![3]], "a page on, a page back, a subscription");
        }
        server.restart().await;
    }
}

#[tokio::test]
async fn the_cursor_before_all_events_is_good_everywhere() {
    let server = TestServer::start().await;
    let before_all = feed_cursor(&server).await;
    server.publish("r", notes(2)).await;
    for (run, cursor) in [(Some("r"), "0"), (None, before_all.as_str())] {
        let outcomes: Vec<_> = everywhere(&server, run, cursor).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(outcomes, [vec![1, 2], vec![], vec![1, 2]]);
    }
    let reader = server.try_subscribe(pb::SubscribeRequest { start: after(""), ..follow_run("r") }).await;
    assert_eq!(seqs(&reader.unwrap().replay().await.0), [1, 2], "an empty cursor is the beginning");
}
