//! Limits of keys and of addresses, over gRPC and REST: a caller over its limit is refused with the time of a retry, and others
//! are served.

use std::time::Duration;

use futures_util::future::join_all;
use runlog::config::ServeOptions;
use runlog::domain::KeyScope;
use runlog::pb;
use runlog::pb::subscribe_request::Scope;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::harness::{create, eventually, json, publish, reason, with_keys};
use crate::server::{TestServer, in_time};

/// Calls at a time, of which a limit of one a second refuses most.
const AT_A_TIME: usize = 20;

/// A server with these limits, and two keys with all scopes from before the limits.
async fn limited(change: impl FnOnce(&mut ServeOptions)) -> (TestServer, String, String) {
    let mut server = with_keys().await;
    let (greedy, other) = (server.key(&KeyScope::ALL).await.1, server.key(&KeyScope::ALL).await.1);
    server.events(&greedy).await.publish(publish("r", "run_start")).await.unwrap();
    server.stop().await;
    change(server.options_mut());
    server.start_again().await;
    (server, greedy, other)
}

/// Asserts that the limit of this name refused the call. Returns the time of a retry.
fn is_over(status: &Status, limit: &str, quota: u64) -> Duration {
    assert_eq!((status.code(), reason(status).as_str()), (Code::ResourceExhausted, "RATE_LIMITED"), "{status}");
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!((metadata["limit"].as_str(), metadata["quota"].as_str()), (limit, quota.to_string().as_str()));
    let delay = details.retry_info().unwrap().retry_delay.unwrap();
    assert!(!delay.is_zero(), "{status}");
    delay
}

/// Status, reason and the headers `Retry-After`, `RateLimit-Policy` and `RateLimit` of a REST call.
struct Answer {
    status: u16,
    body: String,
    retry_after: Option<u64>,
    policy: Option<String>,
    left: Option<String>,
}

impl Answer {
    /// Asserts that a limit refused the call, and that the headers say so.
    fn is_over(&self, limit: &str, policy: &str) {
        assert_eq!(self.status, 429, "{}", self.body);
        assert!(self.body.to_ascii_uppercase().contains("RATE_LIMITED"), "{}", self.body);
        assert_eq!(self.policy.as_deref(), Some(policy));
        let retry_after = self.retry_after.unwrap();
        assert!(retry_after >= 1);
        assert_eq!(self.left, Some(format!("\"{limit}\";r=0;t={retry_after}")));
    }
}

impl TestServer {
    async fn asked(&self, method: &str, path: &str, key: &str, body: Option<String>) -> Answer {
        let url = format!("http://{}{path}", self.address());
        let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
        request = request.header("authorization", format!("Bearer {key}"));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = in_time(request.send()).await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (retry_after, policy, left) = (header("retry-after"), header("ratelimit-policy"), header("ratelimit"));
        let retry_after = retry_after.map(|seconds| seconds.parse().unwrap());
        let status = answer.status().as_u16();
        // The body of a stream has no end.
        let body = if status == 200 { String::new() } else { in_time(answer.text()).await.unwrap() };
        Answer { status, body, retry_after, policy, left }
    }
}

/// A publish of this number of events, each with a payload of this size.
fn batch(run_id: &str, events: usize, payload_bytes: usize) -> pb::PublishRequest {
    let mut publish = publish(run_id, "step");
    publish.events[0].payload = Some(json(&format!("\"{}\"", "x".repeat(payload_bytes - 2))));
    publish.events = vec![publish.events[0].clone(); events];
    publish
}

fn follow() -> pb::SubscribeRequest {
    pb::SubscribeRequest { scope: Some(Scope::AllRuns(pb::AllRuns {})), ..Default::default() }
}

#[tokio::test]
async fn a_key_over_its_requests_is_refused_over_grpc_and_rest_and_another_key_is_served() {
    let (server, greedy, other) = limited(|options| options.rates.key_requests_per_second = 1).await;
    let client = server.runs(&greedy).await;
    let calls = (0..AT_A_TIME).map(|_| {
        let mut client = client.clone();
        async move { client.list_runs(pb::ListRunsRequest::default()).await }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().any(Result::is_ok), "the first call is served");
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(!refused.is_empty());
    for status in refused {
        assert!(is_over(&status, "requests", 1) <= Duration::from_millis(1_001));
    }
    server.runs(&other).await.list_runs(pb::ListRunsRequest::default()).await.unwrap();

    for path in ["/v1/runs", "/api/runs", "/api/structures/s/runs"] {
        let answers = join_all((0..AT_A_TIME).map(|_| server.asked("GET", path, &greedy, None))).await;
        let refused: Vec<_> = answers.into_iter().filter(|answer| answer.status == 429).collect();
        assert!(!refused.is_empty(), "{path}");
        for answer in refused {
            answer.is_over("requests", "\"requests\";q=1;w=1");
        }
    }
}

#[tokio::test]
async fn a_refused_caller_that_waits_as_long_as_it_is_asked_to_is_served() {
    let (server, greedy, _) = limited(|options| options.rates.key_requests_per_second = 2).await;
    let mut client = server.runs(&greedy).await;
    for _ in 0..6 {
        let Err(refused) = client.list_runs(pb::ListRunsRequest::default()).await else { continue };
        tokio::time::sleep(is_over(&refused, "requests", 2)).await;
        client.list_runs(pb::ListRunsRequest::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_of_the_most_events_passes_a_smaller_limit_and_the_next_one_waits() {
    let (server, greedy, other) = limited(|options| options.rates.key_events_per_second = 1).await;
    let most = server.options().limits.max_request_events;
    let mut client = server.events(&greedy).await;
    client.publish(batch("r", most, 2)).await.unwrap();
    let refused = client.publish(batch("r", most, 2)).await.unwrap_err();
    assert!(is_over(&refused, "events", 1) > Duration::from_secs(60));

    let body = format!("[{}]", vec![r#"{"event_type":"step","sdk_run_id":"r"}"#; most].join(","));
    let refused = server.asked("POST", "/api/ingest", &greedy, Some(body)).await;
    refused.is_over("events", "\"events\";q=1;w=1");

    let requests = tokio_stream::iter([pb::PublishStreamRequest { publish: Some(batch("r", most, 2)) }]);
    let mut answers = client.publish_stream(requests).await.unwrap().into_inner();
    let answer = in_time(answers.message()).await.unwrap().unwrap();
    let Some(pb::publish_stream_response::Result::Failure(failure)) = answer.result else { panic!("{answer:?}") };
    assert_eq!((failure.code, failure.reason.as_str()), (Code::ResourceExhausted as i32, "RATE_LIMITED"));
    assert!(failure.metadata["retry_after_ms"].parse::<u64>().unwrap() > 60_000);
    assert!(failure.retry_delay.unwrap().seconds >= 60);

    // Reading is another limit, and so is another key.
    server.runs(&greedy).await.get_run(pb::GetRunRequest { run_id: "r".to_owned() }).await.unwrap();
    server.events(&other).await.publish(batch("r", most, 2)).await.unwrap();
}

#[tokio::test]
async fn bytes_of_payload_count_wherever_events_are_stored() {
    const PAYLOAD_BYTES: usize = 40_000;
    let (server, greedy, other) = limited(|options| {
        options.rates.key_bytes_per_second = 1;
        options.limits.max_payload_bytes = PAYLOAD_BYTES;
        options.limits.max_request_bytes = 2 * PAYLOAD_BYTES;
    })
    .await;
    let mut client = server.events(&greedy).await;
    client.publish(batch("r", 1, PAYLOAD_BYTES)).await.unwrap();
    client.publish(batch("r", 1, 3 * PAYLOAD_BYTES / 4)).await.unwrap();
    let most = Duration::from_millis(1_000 * PAYLOAD_BYTES as u64 + 1);
    let wait = is_over(&client.publish(batch("r", 1, PAYLOAD_BYTES)).await.unwrap_err(), "bytes", 1);
    assert!(wait > Duration::from_secs(60) && wait <= most, "{wait:?}");

    let first_event = batch("r", 1, PAYLOAD_BYTES).events.pop();
    let request = pb::CreateRunRequest { first_event, ..Default::default() };
    is_over(&server.runs(&greedy).await.create_run(request.clone()).await.unwrap_err(), "bytes", 1);
    let payload = format!(r#"{{"a":"{}"}}"#, "x".repeat(PAYLOAD_BYTES - 100));
    let policy = "\"bytes\";q=1;qu=\"content-bytes\";w=1";
    let event = format!(r#"{{"type":"step","payload":{payload}}}"#);
    for path in ["/v1/runs/r/events", "/api/structure-runs/r/events"] {
        server.asked("POST", path, &greedy, Some(event.clone())).await.is_over("bytes", policy);
    }
    server.runs(&other).await.create_run(request).await.unwrap();
    assert_eq!(server.asked("POST", "/v1/runs/r/events", &other, Some(event)).await.status / 100, 2);
}

#[tokio::test]
async fn a_key_has_so_many_streams_open_and_the_end_of_one_makes_room() {
    const STREAM: &str = "/v1/runs/r/events/stream";
    let (server, greedy, other) = limited(|options| options.rates.key_streams = Some(1)).await;
    let policy = "\"streams\";q=1;qu=\"concurrent-requests\"";
    let mut client = server.events(&greedy).await;
    let frames = client.subscribe(follow()).await.unwrap().into_inner();
    is_over(&client.subscribe(follow()).await.unwrap_err(), "streams", 1);
    is_over(&client.publish_stream(tokio_stream::empty()).await.unwrap_err(), "streams", 1);
    server.asked("GET", STREAM, &greedy, None).await.is_over("streams", policy);
    drop(server.events(&other).await.subscribe(follow()).await.unwrap());
    client.publish(publish("r", "step")).await.unwrap();

    drop(frames);
    let mut publishes = None;
    eventually("the place of the subscription", async || {
        let (requests, stream) = mpsc::channel::<pb::PublishStreamRequest>(1);
        let answers = client.publish_stream(ReceiverStream::new(stream)).await;
        publishes = answers.ok().map(|answers| (requests, answers));
        publishes.is_some()
    })
    .await;
    is_over(&client.subscribe(follow()).await.unwrap_err(), "streams", 1);
    server.asked("GET", STREAM, &greedy, None).await.is_over("streams", policy);

    drop(publishes);
    eventually("the place of the stream of publishes", async || client.subscribe(follow()).await.is_ok()).await;
}

#[tokio::test]
async fn an_address_with_too_many_failed_keys_is_refused_and_a_key_in_use_goes_on() {
    let (server, good, _) = limited(|options| options.rates.address_failed_keys_per_minute = 3).await;
    let (good_id, _) = good.split_once(':').unwrap();
    let mut client = server.runs(&good).await;
    client.list_runs(pb::ListRunsRequest::default()).await.unwrap();
    let mut refused = Vec::new();
    for key in ["key_unknown", good_id] {
        let mut bad = server.runs(&format!("{key}:0123456789abcdefghijklmnop")).await;
        for _ in 0..AT_A_TIME {
            refused.push(bad.list_runs(pb::ListRunsRequest::default()).await.unwrap_err());
        }
    }
    assert_eq!((refused[0].code(), reason(&refused[0]).as_str()), (Code::Unauthenticated, "API_KEY_INVALID"));
    let over: Vec<_> = refused.iter().filter(|status| status.code() != Code::Unauthenticated).collect();
    assert!(!over.is_empty());
    for status in over {
        assert!(is_over(status, "failed_keys", 3) <= Duration::from_millis(20_001));
    }
    let path = "/v1/runs/r/events";
    let bad = "key_unknown:0123456789abcdefghijklmnop";
    let answers = join_all((0..AT_A_TIME).map(|_| server.asked("GET", path, bad, None))).await;
    let over: Vec<_> = answers.iter().filter(|answer| answer.status != 401).collect();
    assert!(!over.is_empty());
    for answer in over {
        answer.is_over("failed_keys", "\"failed_keys\";q=3;w=60");
    }
    client.list_runs(pb::ListRunsRequest::default()).await.unwrap();
    assert_eq!(server.asked("GET", path, &good, None).await.status, 200);
}

#[tokio::test]
async fn callers_without_a_key_have_no_limit_of_a_key() {
    let server = TestServer::start_with(|options| {
        options.rates.key_requests_per_second = 1;
        options.rates.key_events_per_second = 1;
        options.rates.key_bytes_per_second = 1;
        options.rates.key_streams = Some(1);
    })
    .await;
    let mut client = pb::event_service_client::EventServiceClient::new(server.calls(None).await);
    let mut streams = Vec::new();
    for _ in 0..AT_A_TIME {
        client.publish(batch("r", 1_000, 200)).await.unwrap();
        // On a connection of its own: a stream that is not read holds up the others of its connection.
        let mut reader = pb::event_service_client::EventServiceClient::new(server.calls(None).await);
        streams.push(reader.subscribe(follow()).await.unwrap());
    }
}

#[tokio::test]
async fn a_new_key_begins_with_all_of_its_limits() {
    let (server, ..) = limited(|options| options.rates.key_events_per_second = 1).await;
    let most = server.options().limits.max_request_events;
    for run_id in ["a", "b"] {
        let created = server.keys(crate::harness::ADMIN).await.create_key(create(&KeyScope::ALL)).await.unwrap();
        server.events(&created.into_inner().secret_key).await.publish(batch(run_id, most, 2)).await.unwrap();
    }
}
