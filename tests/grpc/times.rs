//! Times: `occurred_at` as the producer sent, `recorded_at` never decreasing.

use runlog::pb;

use crate::builders::{json_event, notes};
use crate::harness::TestServer;
use crate::refusal::refused_field;

const fn at(seconds: i64, nanos: i32) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos }
}

/// The first second of the year 1, and the last second that every time zone can write with a year of four digits.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_207_200 - 1;

fn event(occurred_at: prost_types::Timestamp) -> pb::NewEvent {
    pb::NewEvent { occurred_at: Some(occurred_at), ..json_event("run_start", "{}") }
}

#[tokio::test]
async fn a_producers_time_comes_back_as_given() {
    let mut server = TestServer::start().await;
    let times = [
        at(FIRST, 0),
        at(FIRST, 999_999_999),
        at(-1, 1),
        at(-1, 999_999_999),
        at(0, 0),
        at(0, 1),
        at(1_726_096_542, 716_880_083),
        at(LAST, 999_999_999),
    ];
    for (n, time) in times.into_iter().enumerate() {
        server.publish(&format!("r{n}"), vec![event(time)]).await;
    }
    for _ in 0..2 {
        let read: Vec<_> = server.everything().await.iter().map(|event| event.occurred_at.unwrap()).collect();
        assert_eq!(read, times);
        for (n, time) in times.into_iter().enumerate() {
            assert_eq!(server.run(&format!("r{n}")).await.started_at, Some(time));
        }
        server.restart().await;
    }
}

#[tokio::test]
async fn a_time_that_no_calendar_has_is_refused_by_name() {
    let server = TestServer::start().await;
    for bad in [
        at(FIRST - 1, 0),
        at(253_402_300_800, 0),
        at(i64::MIN, 0),
        at(i64::MAX, 0),
        at(0, -1),
        at(0, 1_000_000_000),
        at(0, i32::MIN),
        at(0, i32::MAX),
    ] {
        refused_field(server.try_publish("r", vec![event(bad)]).await, "events[0].occurred_at");
    }
    assert!(server.everything().await.is_empty());
}

#[tokio::test]
async fn an_event_without_a_time_has_the_servers() {
    let server = TestServer::start().await;
    server.publish("r", notes(3)).await;
    for event in server.everything().await {
        assert_eq!(event.occurred_at, event.recorded_at);
        assert!(event.recorded_at.is_some_and(|at| at.seconds > 1_726_096_542));
    }
}
