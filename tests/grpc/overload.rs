//! Promise 9: a refusal at a limit names the reason and the time to retry.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tonic::Code;

use crate::builders::{notes, numbered, publish_request, with_id};
use crate::harness::{TestServer, in_time};
use crate::reading::{Received, follow_run, list_run, seqs};
use crate::refusal::refused;

/// Blocks all commits, like a disk that does not answer, by holding SQLite's write lock.
async fn hold_the_disk(server: &TestServer) -> SqliteConnection {
    let mut holder = SqliteConnectOptions::new().filename(&server.options().store.data).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    holder
}

async fn let_go(mut holder: SqliteConnection) {
    sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
}

#[tokio::test]
async fn more_subscriptions_than_allowed_are_refused_until_one_ends() {
    let server = TestServer::start_with(|options| options.reading.max_subscriptions = 2).await;
    server.publish("r", notes(1)).await;
    let first = server.subscribe(follow_run("r")).await;
    let mut second = server.subscribe(follow_run("r")).await;
    let refusal = refused(server.try_subscribe(follow_run("r")).await).is(Code::ResourceExhausted, "OVERLOADED");
    assert!(refusal.retry.is_some_and(|delay| delay >= Duration::from_secs(1)), "{refusal:?}");
    assert_eq!(second.replay().await.1, 1, "who has a place keeps it");
    drop(first);
    let mut third = in_time(async {
        loop {
            match server.try_subscribe(follow_run("r")).await {
                Ok(reader) => return reader,
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
            }
        }
    })
    .await;
    assert_eq!(third.replay().await.1, 1);
    server.list(list_run("r")).await.unwrap();
}

#[tokio::test]
async fn a_refused_subscription_takes_no_place() {
    let server = TestServer::start_with(|options| options.reading.max_subscriptions = 1).await;
    for _ in 0..5 {
        refused(server.try_subscribe(follow_run("none")).await).is(Code::NotFound, "RUN_NOT_FOUND");
    }
    server.publish("r", vec![crate::builders::the_end()]).await;
    for _ in 0..5 {
        let received = in_time(async {
            loop {
                match server.try_subscribe(follow_run("r")).await {
                    Ok(mut reader) => return reader.rest().await,
                    // The previous subscription counts until the server has seen its end.
                    Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
                }
            }
        })
        .await;
        assert!(matches!(received.last(), Some(Received::Ended(..))));
    }
}

#[tokio::test]
async fn more_connections_than_allowed_wait_until_one_closes() {
    let server = TestServer::start_with(|options| options.connections.max_connections = 1).await;
    let mut first = server.runs().await;
    let all = runlog::pb::ListRunsRequest::default;
    first.list_runs(all()).await.unwrap();
    let mut second = server.runs().await;
    let waiting = tokio::spawn(async move { second.list_runs(all()).await });
    for _ in 0..10 {
        first.list_runs(all()).await.unwrap();
    }
    assert!(!waiting.is_finished());
    drop(first);
    in_time(waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_has_its_part_of_the_connections_and_the_others_have_the_rest() {
    let server = TestServer::start_with(|options| {
        options.connections.max_connections = 10;
        options.connections.max_connections_per_address = Some(2);
    })
    .await;
    let connect = async |address: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
        let mut socket = socket.connect(server.address()).await.unwrap();
        let get = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
        // A connection closed at once may refuse the write.
        let _ = socket.write_all(get.as_bytes()).await;
        let mut answer = [0; 12];
        let is_served = in_time(socket.read_exact(&mut answer)).await.is_ok();
        is_served.then_some(socket)
    };
    let (first, second) = (connect("127.0.0.1").await, connect("127.0.0.1").await);
    assert!(first.is_some() && second.is_some());
    for _ in 0..20 {
        assert!(connect("127.0.0.1").await.is_none());
    }
    assert!(connect("127.0.0.2").await.is_some(), "another address");
    drop(first);
    in_time(async { while connect("127.0.0.1").await.is_none() {} }).await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_what_was_taken_in_is_stored() {
    let server = TestServer::start_with(|options| {
        options.limits.max_request_events = 1;
        options.writing.publish_queue_events = 1;
        options.writing.max_commit_events = 1;
        options.writing.publish_wait = std::time::Duration::from_millis(1);
    })
    .await;
    server.publish("r", vec![with_id("first", numbered(0))]).await;
    let holder = hold_the_disk(&server).await;
    let mut calls = JoinSet::new();
    for n in 1..=10 {
        let mut client = server.events().await;
        let request = publish_request("r", vec![with_id(&format!("e{n}"), numbered(n))]);
        calls.spawn(async move { client.publish(request).await });
    }
    let refusal = refused(in_time(calls.join_next()).await.unwrap().unwrap());
    let refusal = refusal.is(Code::ResourceExhausted, "OVERLOADED");
    assert!(refusal.retry.is_some_and(|delay| !delay.is_zero()), "{refusal:?}");
    let_go(holder).await;
    let stored = in_time(calls.join_all()).await.into_iter().filter(Result::is_ok).count();
    assert!(stored >= 1, "at least the one that the committer had in hand");
    let events = server.everything().await;
    assert_eq!(seqs(&events), (1..=stored as u64 + 1).collect::<Vec<_>>(), "the refused ones left nothing");
}

#[tokio::test]
async fn a_publish_that_takes_too_long_is_unavailable_and_safe_to_repeat() {
    let server = TestServer::start_with(|options| {
        options.writing.publish_wait = std::time::Duration::from_millis(100);
        options.connections.request_timeout = std::time::Duration::from_millis(100);
    })
    .await;
    server.publish("r", notes(1)).await;
    let holder = hold_the_disk(&server).await;
    let events = vec![with_id("a", numbered(2))];
    let refusal = refused(server.try_publish("r", events.clone()).await).is(Code::Unavailable, "OUTCOME_UNKNOWN");
    assert!(refusal.retry.is_some(), "{refusal:?}");
    let_go(holder).await;
    let answer = in_time(async {
        loop {
            if let Ok(answer) = server.try_publish("r", events.clone()).await {
                return answer;
            }
        }
    })
    .await;
    assert_eq!(answer.events[0].seq, 2);
    assert_eq!(server.everything().await.len(), 2, "stored once");
}
