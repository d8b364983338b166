//! Stream tokens: what they open, what they do not, and how they end.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};
use runlog::config::StoreUrl;
use runlog::domain::access::{Secret, StreamToken};
use runlog::domain::{KeyId, KeyScope, ProjectId, RunId};
use runlog::pb;
use runlog::pb::event_service_client::EventServiceClient;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

use crate::cluster::Database;
use crate::harness::{ADMIN, Answer, create, eventually, publish, reason, with_keys, with_keys_and};
use crate::matrix::{Needs, ROUTES, of_run, stream_routes};
use crate::server::{DATA, TestServer, in_time};

/// A server with the ended runs `r` and `s`, and a key that reads.
async fn with_runs() -> (TestServer, String) {
    let server = with_keys().await;
    let (_, publisher) = server.key(&[KeyScope::EventsPublish]).await;
    for run_id in ["r", "s"] {
        for event_type in ["run_start", "run_end"] {
            server.events(&publisher).await.publish(publish(run_id, event_type)).await.unwrap();
        }
    }
    let (_, reader) = server.key(&[KeyScope::EventsRead]).await;
    (server, reader)
}

/// A GET without a header, with this token beside this query.
async fn get(server: &TestServer, path: &str, token: &str, query: &str) -> Answer {
    server.rest("GET", &format!("{path}?token={token}{query}"), None, None).await
}

#[tokio::test]
async fn a_token_reads_the_events_and_the_stream_of_its_run_over_every_api_without_a_header() {
    let (server, reader) = with_runs().await;
    let token = server.stream_token(Some(&reader), "r").await;
    assert_eq!(stream_routes().count(), 7);
    for route in stream_routes() {
        let path = of_run(route, "r");
        let answer = get(&server, &path, &token, "").await;
        assert!(answer.status == 200 && answer.body.contains("run_start"), "{path}: {answer:?}");
        let with_a_view = get(&server, &path, &token, "&view=public").await;
        assert_eq!(with_a_view.status, 200, "{path}: {with_a_view:?}");
        let unknown = get(&server, &path, &token, "&tokens=1").await;
        assert!(unknown.status == 422 && unknown.body.contains("tokens: is no parameter"), "{path}: {unknown:?}");
        let head = server.rest("HEAD", &format!("{path}?token={token}"), None, None).await;
        assert_eq!(head.status, 200, "{path}: {head:?}");
    }
    let resumed = get(&server, "/v1/runs/r/events/stream", &token, "&lastEventId=1").await;
    assert!(resumed.body.contains("id: 2") && !resumed.body.contains("id: 1"), "{resumed:?}");
    let at_the_end = format!("/v1/runs/r/events/stream?token={token}&lastEventId=2");
    assert_eq!(server.rest("HEAD", &at_the_end, None, None).await.status, 204, "the page asks so whether to go on");
}

#[tokio::test]
async fn a_token_expires_5_minutes_after_its_creation_over_rest_and_grpc() {
    let (server, reader) = with_runs().await;
    let now = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let before = now();
    let issued = server.rest("POST", "/v1/runs/r/stream-token", Some(&reader), Some("{}")).await;
    let request = pb::CreateStreamTokenRequest { run_id: "r".to_owned() };
    let over_grpc = server.runs(&reader).await.create_stream_token(request).await.unwrap().into_inner();
    let after = now();
    let issued: Value = serde_json::from_str(&issued.body).unwrap();
    let over_rest: Timestamp = issued["expires_at"].as_str().unwrap().parse().unwrap();
    for expires_at in [over_rest.as_second(), over_grpc.expires_at.unwrap().seconds] {
        assert!((before + 300..=after + 300).contains(&expires_at), "{before} {expires_at} {after}");
    }
    assert_eq!(get(&server, "/v1/runs/r/events", &over_grpc.token, "").await.status, 200);
}

#[tokio::test]
async fn a_token_is_created_for_a_run_that_exists() {
    let (server, reader) = with_runs().await;
    let missing = server.rest("POST", "/v1/runs/nope/stream-token", Some(&reader), None).await;
    assert!(missing.status == 404 && missing.names("RUN_NOT_FOUND"), "{missing:?}");
    for (run_id, expected) in [("nope", "RUN_NOT_FOUND"), ("", "INVALID_FIELD")] {
        let request = pb::CreateStreamTokenRequest { run_id: run_id.to_owned() };
        let refused = server.runs(&reader).await.create_stream_token(request).await.unwrap_err();
        assert_eq!(reason(&refused), expected, "{run_id:?}");
    }
}

#[tokio::test]
async fn a_token_is_refused_for_another_run_whether_that_run_exists_or_not() {
    let (server, reader) = with_runs().await;
    let token = server.stream_token(Some(&reader), "r").await;
    for route in stream_routes() {
        for run_id in ["s", "nope", "R", "r%20"] {
            let path = of_run(route, run_id);
            let refused = get(&server, &path, &token, "").await;
            assert!(refused.status == 403 && refused.names("STREAM_TOKEN_SCOPE"), "{path}: {refused:?}");
            assert!(!refused.body.contains("run_start"), "{path}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn no_other_route_takes_a_token_and_no_token_creates_another_one() {
    let (server, reader) = with_runs().await;
    let token = server.stream_token(Some(&reader), "r").await;
    let takes_tokens: Vec<&str> = stream_routes().collect();
    for (method, route, needs, body) in ROUTES {
        let path = of_run(route, "r");
        let answer = server.rest(method, &format!("{path}?token={token}"), None, body).await;
        if needs == Needs::Nothing || (method == "GET" && takes_tokens.contains(&route)) {
            assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        } else {
            assert!(answer.status == 401 && answer.names("API_KEY_MISSING"), "{method} {path}: {answer:?}");
        }
        let as_key = server.rest(method, &path, Some(&token), body).await;
        if needs != Needs::Nothing {
            assert!(as_key.status == 401 && as_key.names("API_KEY_INVALID"), "{method} {path}: {as_key:?}");
        }
    }
    let request = pb::CreateStreamTokenRequest { run_id: "r".to_owned() };
    let refused = server.runs(&token).await.create_stream_token(request).await.unwrap_err();
    assert_eq!(reason(&refused), "API_KEY_INVALID");
}

#[tokio::test]
async fn a_token_beside_a_key_is_refused_like_any_unknown_parameter() {
    let (server, reader) = with_runs().await;
    let token = server.stream_token(Some(&reader), "r").await;
    for route in stream_routes() {
        let path = format!("{}?token={token}", of_run(route, "r"));
        let refused = server.rest("GET", &path, Some(&reader), None).await;
        assert!(refused.status == 422 && refused.body.contains("token: is no parameter"), "{path}: {refused:?}");
        assert!(!refused.body.contains(&token), "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn a_token_shows_payloads_in_full_only_if_its_key_did() {
    let (server, reader) = with_runs().await;
    let (_, auditor) = server.key(&[KeyScope::EventsRead, KeyScope::EventsReadSensitive]).await;
    let (reduced, full) =
        (server.stream_token(Some(&reader), "r").await, server.stream_token(Some(&auditor), "r").await);
    for route in stream_routes() {
        let path = of_run(route, "r");
        let refused = get(&server, &path, &reduced, "&view=full").await;
        assert!(refused.status == 403 && refused.names("SCOPE_MISSING"), "{path}: {refused:?}");
        assert!(!get(&server, &path, &reduced, "").await.body.contains("private"), "{path}");
        assert!(get(&server, &path, &full, "&view=full").await.body.contains("private"), "{path}");
    }
}

#[tokio::test]
async fn a_changed_token_an_invented_one_and_one_of_another_server_are_refused() {
    let (server, reader) = with_runs().await;
    let token = server.stream_token(Some(&reader), "r").await;
    let (elsewhere, reader_there) = with_runs().await;
    let foreign = elsewhere.stream_token(Some(&reader_there), "r").await;
    let (content, signature) = token.rsplit_once('.').unwrap();
    let (other_content, _) = foreign.rsplit_once('.').unwrap();
    let flipped = |at: usize| {
        let flip = |(n, c): (usize, char)| if n == at { if c == 'A' { 'B' } else { 'A' } } else { c };
        token.char_indices().map(flip).collect::<String>()
    };
    let mut bad = vec![
        String::new(),
        "st1..".to_owned(),
        "x".repeat(4_000),
        content.to_owned(),
        foreign.clone(),
        format!("{other_content}.{signature}"),
        format!("{token}&token={token}"),
        reader.clone(),
    ];
    bad.extend((0..token.len()).filter(|at| !token[*at..].starts_with('A')).map(flipped));
    for bad in bad {
        let refused = get(&server, "/v1/runs/r/events", &bad, "").await;
        assert!(refused.status == 401 && refused.names("STREAM_TOKEN_INVALID"), "{bad}: {refused:?}");
        assert!(refused.challenge.unwrap().contains("error=\"invalid_token\""));
    }
    for route in stream_routes() {
        let refused = get(&server, &of_run(route, "r"), &foreign, "").await;
        assert!(refused.status == 401 && refused.names("STREAM_TOKEN_INVALID"), "{route}: {refused:?}");
    }
    assert_eq!(get(&server, "/v1/runs/r/events", &token, "").await.status, 200, "the unchanged one is good");
}

#[tokio::test]
async fn a_token_survives_a_restart_and_an_expired_one_is_refused() {
    let (mut server, _) = with_runs().await;
    let (key_id, key) = server.key(&[KeyScope::EventsRead]).await;
    let token = server.stream_token(Some(&key), "r").await;
    server.stop().await;
    let file = SqliteConnectOptions::new().filename(server.directory().join(DATA));
    let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
    let stored: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT value FROM secrets").fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let secret = Secret(stored.concat().try_into().unwrap());
    server.start_again().await;
    assert_eq!(get(&server, "/v1/runs/r/events", &token, "").await.status, 200);
    let signed = |second: i64| {
        let token = StreamToken {
            run_id: RunId::parse("r").unwrap(),
            project: ProjectId::default(),
            key_id: Some(KeyId::parse(&key_id).unwrap()),
            is_sensitive: false,
            expires_at: Timestamp::now() + SignedDuration::from_secs(second),
        };
        token.sign(&secret)
    };
    assert_eq!(get(&server, "/v1/runs/r/events", &signed(200), "").await.status, 200);
    for route in stream_routes() {
        let refused = get(&server, &of_run(route, "r"), &signed(-1), "").await;
        assert!(refused.status == 401 && refused.names("STREAM_TOKEN_EXPIRED"), "{route}: {refused:?}");
    }
}

#[tokio::test]
async fn a_token_and_its_open_streams_end_with_its_key() {
    let server = with_keys().await;
    let (key_id, key) = server.key(&[KeyScope::EventsPublish, KeyScope::EventsRead]).await;
    server.events(&key).await.publish(publish("open", "run_start")).await.unwrap();
    let token = server.stream_token(Some(&key), "open").await;
    let url = format!("http://{}/v1/runs/open/events/stream?token={token}", server.address());
    let stream = in_time(reqwest::get(url)).await.unwrap();
    assert_eq!(stream.status().as_u16(), 200);
    server.keys(ADMIN).await.revoke_key(pb::RevokeKeyRequest { key_id }).await.unwrap();
    assert!(in_time(stream.text()).await.is_err(), "an event stream that was cut has no regular end");
    let refused = get(&server, "/v1/runs/open/events", &token, "").await;
    assert!(refused.status == 401 && refused.names("API_KEY_REVOKED"), "{refused:?}");
}

#[tokio::test]
async fn a_token_of_an_expired_key_is_refused() {
    let (server, _) = with_runs().await;
    let expires_in = Some(prost_types::Duration { seconds: 2, nanos: 0 });
    let request = pb::CreateKeyRequest { expires_in, ..create(&[KeyScope::EventsRead]) };
    let key = server.keys(ADMIN).await.create_key(request).await.unwrap().into_inner().secret_key;
    let issued = server.rest("POST", "/v1/runs/r/stream-token", Some(&key), None).await;
    if issued.status == 401 {
        // A slow machine: the key has expired before its first use.
        assert!(issued.names("API_KEY_EXPIRED"), "{issued:?}");
        return;
    }
    let issued: Value = serde_json::from_str(&issued.body).unwrap();
    let token = issued["token"].as_str().unwrap();
    eventually("the end of the token", async || {
        get(&server, "/v1/runs/r/events", token, "").await.names("API_KEY_EXPIRED")
    })
    .await;
}

#[tokio::test]
async fn a_server_without_keys_issues_tokens_and_checks_them_as_one_with_keys() {
    let server = TestServer::start().await;
    let mut events = EventServiceClient::new(server.calls(None).await);
    for run_id in ["r", "s"] {
        events.publish(publish(run_id, "run_end")).await.unwrap();
    }
    let unknown = get(&server, "/v1/runs/r/events", "st1.a.b", "").await;
    assert!(unknown.status == 401 && unknown.names("STREAM_TOKEN_INVALID"), "before there is a token: {unknown:?}");
    let token = server.stream_token(None, "r").await;
    for route in stream_routes() {
        let answer = get(&server, &of_run(route, "r"), &token, "&view=full").await;
        assert!(answer.status == 200 && answer.body.contains("private"), "{route}: {answer:?}");
        let refused = get(&server, &of_run(route, "s"), &token, "").await;
        assert!(refused.status == 403 && refused.names("STREAM_TOKEN_SCOPE"), "{route}: {refused:?}");
        let refused = get(&server, &of_run(route, "r"), "st1.a.b", "").await;
        assert!(refused.status == 401 && refused.names("STREAM_TOKEN_INVALID"), "{route}: {refused:?}");
    }
}

#[tokio::test]
async fn a_token_of_a_server_without_keys_and_its_streams_end_with_the_first_key() {
    let Some(database) = Database::create().await else { return };
    let keyless = TestServer::start_with(|options| options.store.url = Some(StoreUrl::from(database.url()))).await;
    EventServiceClient::new(keyless.calls(None).await).publish(publish("r", "run_start")).await.unwrap();
    let token = keyless.stream_token(None, "r").await;
    let url = format!("http://{}/v1/runs/r/events/stream?token={token}", keyless.address());
    let stream = in_time(reqwest::get(url)).await.unwrap();
    assert_eq!(stream.status().as_u16(), 200);
    // Another replica, which brings a key.
    let other = with_keys_and(|options| options.store.url = Some(StoreUrl::from(database.url()))).await;
    assert!(in_time(stream.text()).await.is_err(), "an event stream that was cut has no regular end");
    for server in [&keyless, &other] {
        let refused = get(server, "/v1/runs/r/events", &token, "").await;
        assert!(refused.status == 401 && refused.names("STREAM_TOKEN_INVALID"), "{refused:?}");
    }
}
