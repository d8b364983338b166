//! Every gRPC method and every REST route, with no key, bad keys and each single scope. The lists are compared with the proto
//! files and `/openapi.json`, so that a new method or route cannot be forgotten.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorSet;
use runlog::domain::KeyScope;
use runlog::pb;
use runlog::pb::admin_service_client::AdminServiceClient;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::key_service_client::KeyServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use serde_json::Value;
use tonic::{Code, Status};

use crate::harness::{ADMIN, Calls, create, eventually, publish, reason, with_keys};
use crate::server::TestServer;

/// A gRPC method and the scope that it needs; `None`: any key.
pub const METHODS: [(&str, Option<KeyScope>); 21] = [
    ("AdminService/Backup", Some(KeyScope::Admin)),
    ("EventService/Publish", Some(KeyScope::EventsPublish)),
    ("EventService/PublishStream", Some(KeyScope::EventsPublish)),
    ("EventService/ListEvents", Some(KeyScope::EventsRead)),
    ("EventService/Subscribe", Some(KeyScope::EventsRead)),
    ("KeyService/CreateKey", Some(KeyScope::Admin)),
    ("KeyService/GetCaller", None),
    ("KeyService/ListKeys", Some(KeyScope::Admin)),
    ("KeyService/RevokeKey", Some(KeyScope::Admin)),
    ("KeyService/RotateKey", Some(KeyScope::Admin)),
    ("RunService/CancelRun", Some(KeyScope::RunsWrite)),
    ("RunService/CreateRun", Some(KeyScope::RunsWrite)),
    ("RunService/CreateStreamToken", Some(KeyScope::EventsRead)),
    ("RunService/EraseEvents", Some(KeyScope::Admin)),
    ("RunService/GetRun", Some(KeyScope::EventsRead)),
    ("RunService/GetUsage", Some(KeyScope::EventsRead)),
    ("RunService/HoldRun", Some(KeyScope::Admin)),
    ("RunService/ListRuns", Some(KeyScope::EventsRead)),
    ("RunService/ReleaseRun", Some(KeyScope::Admin)),
    ("RunService/ResumeRun", Some(KeyScope::RunsWrite)),
    ("RunService/SignalRun", Some(KeyScope::RunsWrite)),
];

/// What a route needs.
#[derive(Clone, Copy, PartialEq)]
pub enum Needs {
    Scope(KeyScope),
    AnyKey,
    Nothing,
}

const READ: Needs = Needs::Scope(KeyScope::EventsRead);
const PUBLISH: Needs = Needs::Scope(KeyScope::EventsPublish);
const WRITE: Needs = Needs::Scope(KeyScope::RunsWrite);

/// A route as in `/openapi.json`, what it needs, and a body.
pub const ROUTES: [(&str, &str, Needs, Option<&str>); 34] = [
    ("GET", "/ag-ui/runs/{id}", READ, None),
    ("GET", "/api/events/{event_id}", READ, None),
    ("POST", "/api/ingest", PUBLISH, Some(r#"{"event_type":"step","sdk_run_id":"r"}"#)),
    ("GET", "/api/runs", READ, None),
    ("GET", "/api/runs/{sdk_run_id}", READ, None),
    ("GET", "/api/runs/{sdk_run_id}/events", READ, None),
    ("GET", "/api/runs/{sdk_run_id}/events/stream", READ, None),
    ("GET", "/api/structure-runs/{structure_run_id}", READ, None),
    ("POST", "/api/structure-runs/{structure_run_id}/cancel", WRITE, Some("{}")),
    ("GET", "/api/structure-runs/{structure_run_id}/events", READ, None),
    ("POST", "/api/structure-runs/{structure_run_id}/events", PUBLISH, Some(r#"{"type":"step","payload":{}}"#)),
    ("GET", "/api/structure-runs/{structure_run_id}/events/stream", READ, None),
    ("GET", "/api/structure-runs/{structure_run_id}/logs", READ, None),
    ("GET", "/api/structure-runs/{structure_run_id}/spans", READ, None),
    ("POST", "/api/structure-runs/{structure_run_id}/spans", PUBLISH, Some(r#"[{"span_id":"s","name":"n"}]"#)),
    ("GET", "/api/structures/{structure_id}/runs", READ, None),
    ("POST", "/api/structures/{structure_id}/runs", WRITE, Some("{}")),
    ("GET", "/health/deps", Needs::Nothing, None),
    ("GET", "/health/live", Needs::Nothing, None),
    ("GET", "/health/ready", Needs::Nothing, None),
    ("GET", "/metrics", Needs::AnyKey, None),
    ("GET", "/v1/caller", Needs::AnyKey, None),
    ("GET", "/v1/events/stream", READ, None),
    ("GET", "/v1/runs", READ, None),
    ("POST", "/v1/runs", WRITE, Some("{}")),
    ("GET", "/v1/runs/{id}", READ, None),
    ("POST", "/v1/runs/{id}/cancel", WRITE, Some("{}")),
    ("GET", "/v1/runs/{id}/events", READ, None),
    ("POST", "/v1/runs/{id}/events", PUBLISH, Some(r#"{"type":"step","payload":{}}"#)),
    ("GET", "/v1/runs/{id}/events/stream", READ, None),
    ("POST", "/v1/runs/{id}/resume", WRITE, Some("{}")),
    ("POST", "/v1/runs/{id}/signal", WRITE, Some(r#"{"action":"approve"}"#)),
    ("POST", "/v1/runs/{id}/stream-token", READ, Some("{}")),
    ("GET", "/v1/usage", READ, None),
];

/// Routes that take a stream token: those of the events of one run.
pub fn stream_routes() -> impl Iterator<Item = &'static str> {
    let reads = ROUTES.into_iter().filter(|(method, ..)| *method == "GET").map(|(_, path, ..)| path);
    let of_run = reads.filter(|path| path.contains('{'));
    let is_of_events =
        |path: &str| path.ends_with("/events") || path.ends_with("/events/stream") || path.starts_with("/ag-ui/");
    of_run.filter(move |path| is_of_events(path))
}

/// The path with this id in place of its variable.
pub fn of_run(path: &str, id: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { id } else { part }).collect::<Vec<_>>().join("/")
}

/// Keys that are no good: what is wrong, the text, and the reason of the refusal.
struct BadKeys(Vec<(&'static str, Option<String>, &'static str)>);

impl BadKeys {
    async fn of(server: &TestServer) -> Self {
        let all = KeyScope::ALL;
        let (_, good) = server.key(&all).await;
        let (revoked_id, revoked) = server.key(&all).await;
        let mut keys = server.keys(ADMIN).await;
        keys.revoke_key(pb::RevokeKeyRequest { key_id: revoked_id }).await.unwrap();
        let expires_in = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
        let expiring = keys.create_key(pb::CreateKeyRequest { expires_in, ..create(&all) }).await.unwrap().into_inner();
        let expired = expiring.secret_key;
        for (key, ended) in [(&revoked, "API_KEY_REVOKED"), (&expired, "API_KEY_EXPIRED")] {
            eventually(ended, async || server.rest("GET", "/v1/runs", Some(key), None).await.names(ended)).await;
        }
        let (key_id, secret) = good.split_once(':').unwrap();
        Self(vec![
            ("no key", None, "API_KEY_MISSING"),
            ("no form of a key", Some("secret".to_owned()), "API_KEY_INVALID"),
            (
                "another secret",
                Some(format!("{key_id}:{}", secret.chars().rev().collect::<String>())),
                "API_KEY_INVALID",
            ),
            ("an unknown id", Some(format!("key_unknown:{secret}")), "API_KEY_INVALID"),
            ("an expired key", Some(expired), "API_KEY_EXPIRED"),
            ("a revoked key", Some(revoked), "API_KEY_REVOKED"),
        ])
    }
}

/// A key for each single scope.
async fn single_scopes(server: &TestServer) -> Vec<(KeyScope, String)> {
    let mut keys = Vec::new();
    for scope in KeyScope::ALL {
        keys.push((scope, server.key(&[scope]).await.1));
    }
    keys
}

/// Calls a method; the answer itself does not matter.
async fn call(method: &str, calls: Calls) -> Result<(), Status> {
    let mut admin = AdminServiceClient::new(calls.clone());
    let mut events = EventServiceClient::new(calls.clone());
    let mut keys = KeyServiceClient::new(calls.clone());
    let mut runs = RunServiceClient::new(calls);
    let run_id = "r".to_owned();
    let key_id = "key_unknown".to_owned();
    match method {
        "AdminService/Backup" => admin.backup(pb::BackupRequest {}).await?.into_inner().message().await.map(drop),
        "EventService/Publish" => events.publish(publish("r", "step")).await.map(drop),
        "EventService/PublishStream" => {
            let request = pb::PublishStreamRequest { publish: Some(publish("r", "step")) };
            let mut answers = events.publish_stream(tokio_stream::iter([request])).await?.into_inner();
            answers.message().await.map(drop)
        }
        "EventService/ListEvents" => {
            let scope = Some(pb::list_events_request::Scope::RunId(run_id));
            events.list_events(pb::ListEventsRequest { scope, ..Default::default() }).await.map(drop)
        }
        "EventService/Subscribe" => {
            let scope = Some(pb::subscribe_request::Scope::RunId(run_id));
            let request = pb::SubscribeRequest { scope, ..Default::default() };
            events.subscribe(request).await?.into_inner().message().await.map(drop)
        }
        "KeyService/CreateKey" => keys.create_key(create(&[KeyScope::EventsRead])).await.map(drop),
        "KeyService/GetCaller" => keys.get_caller(pb::GetCallerRequest {}).await.map(drop),
        "KeyService/ListKeys" => keys.list_keys(pb::ListKeysRequest::default()).await.map(drop),
        "KeyService/RevokeKey" => keys.revoke_key(pb::RevokeKeyRequest { key_id }).await.map(drop),
        "KeyService/RotateKey" => {
            keys.rotate_key(pb::RotateKeyRequest { key_id, ..Default::default() }).await.map(drop)
        }
        "RunService/CancelRun" => runs.cancel_run(pb::CancelRunRequest { run_id }).await.map(drop),
        "RunService/CreateRun" => runs.create_run(pb::CreateRunRequest::default()).await.map(drop),
        "RunService/CreateStreamToken" => {
            runs.create_stream_token(pb::CreateStreamTokenRequest { run_id }).await.map(drop)
        }
        "RunService/EraseEvents" => {
            runs.erase_events(pb::EraseEventsRequest { run_id, ..Default::default() }).await.map(drop)
        }
        "RunService/HoldRun" => runs.hold_run(pb::HoldRunRequest { run_id }).await.map(drop),
        "RunService/ReleaseRun" => runs.release_run(pb::ReleaseRunRequest { run_id }).await.map(drop),
        "RunService/GetRun" => runs.get_run(pb::GetRunRequest { run_id }).await.map(drop),
        "RunService/GetUsage" => runs.get_usage(pb::GetUsageRequest::default()).await.map(drop),
        "RunService/ListRuns" => runs.list_runs(pb::ListRunsRequest::default()).await.map(drop),
        "RunService/ResumeRun" => {
            runs.resume_run(pb::ResumeRunRequest { run_id, ..Default::default() }).await.map(drop)
        }
        "RunService/SignalRun" => {
            let action = pb::SignalAction::Approve.into();
            runs.signal_run(pb::SignalRunRequest { run_id, action, ..Default::default() }).await.map(drop)
        }
        other => panic!("{other} is not in the matrix"),
    }
}

/// A server with the ended run `r`.
async fn with_a_run() -> TestServer {
    let server = with_keys().await;
    let (_, key) = server.key(&[KeyScope::EventsPublish]).await;
    for event_type in ["run_start", "run_end"] {
        server.events(&key).await.publish(publish("r", event_type)).await.unwrap();
    }
    server
}

#[tokio::test]
async fn every_grpc_method_is_in_the_matrix() {
    let files = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap().file;
    let services = files.iter().filter(|file| file.package() == "runlog.v1").flat_map(|file| &file.service);
    let methods = services
        .flat_map(|service| service.method.iter().map(move |method| format!("{}/{}", service.name(), method.name())));
    let expected: BTreeSet<String> = METHODS.iter().map(|(method, _)| (*method).to_owned()).collect();
    assert_eq!(methods.collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn a_grpc_method_takes_a_good_key_with_its_scope_and_no_other() {
    let server = with_a_run().await;
    let bad = BadKeys::of(&server).await;
    let single = single_scopes(&server).await;
    for (method, scope) in METHODS {
        for (what, key, expected) in &bad.0 {
            let refused = call(method, server.calls(key.as_deref()).await).await.expect_err(what);
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::Unauthenticated, *expected),
                "{method} {what}"
            );
        }
        for (held, key) in &single {
            match call(method, server.calls(Some(key)).await).await {
                Err(status) if scope.is_some_and(|scope| *held != scope) => {
                    let scope = scope.unwrap();
                    assert_eq!(
                        (status.code(), reason(&status).as_str()),
                        (Code::PermissionDenied, "SCOPE_MISSING"),
                        "{method}"
                    );
                    assert!(status.message().contains(scope.as_str()), "{method} {held}: {status}");
                }
                Ok(()) => assert!(scope.is_none_or(|scope| *held == scope), "{method}"),
                // The key of no one, and the run that has ended.
                Err(status) => assert!(
                    matches!(status.code(), Code::NotFound | Code::FailedPrecondition),
                    "{method} {held}: {status}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn every_rest_route_is_in_the_matrix_and_the_description_names_the_security_scheme() {
    let server = with_keys().await;
    let answer = server.rest("GET", "/openapi.json", Some(ADMIN), None).await;
    assert_eq!(answer.status, 200);
    let api: Value = serde_json::from_str(&answer.body).unwrap();
    let mut described = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            let route = ROUTES.iter().find(|route| route.0 == method.to_uppercase() && route.1 == path);
            let needs_key = route.is_none_or(|route| route.2 != Needs::Nothing);
            assert_eq!(operation["responses"]["401"].is_object(), needs_key, "{method} {path}");
            let security = &operation["security"];
            let takes_a_token = stream_routes().any(|route| (method.as_str(), path.as_str()) == ("get", route));
            assert_eq!(security[1]["token"].is_array(), takes_a_token, "{method} {path}: {security}");
            assert!(!takes_a_token || security[0]["key"].is_array(), "{method} {path}: {security}");
            assert_eq!(security.as_array().is_some_and(Vec::is_empty), !needs_key, "{method} {path}: {security}");
        }
    }
    let expected: BTreeSet<_> =
        ROUTES.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(described, expected);
    let scheme = &api["components"]["securitySchemes"]["key"];
    assert_eq!((scheme["type"].as_str(), scheme["scheme"].as_str()), (Some("http"), Some("bearer")));
    assert!(api["security"][0]["key"].is_array(), "{}", api["security"]);
    let token = &api["components"]["securitySchemes"]["token"];
    assert_eq!(["type", "in", "name"].map(|member| token[member].as_str()), ["apiKey", "query", "token"].map(Some));
}

#[tokio::test]
async fn a_rest_route_takes_a_good_key_with_its_scope_and_no_other() {
    let server = with_a_run().await;
    let bad = BadKeys::of(&server).await;
    let single = single_scopes(&server).await;
    for (method, path, needs, body) in ROUTES {
        let path = of_run(path, "r");
        for (what, key, expected) in &bad.0 {
            let answer = server.rest(method, &path, key.as_deref(), body).await;
            if needs == Needs::Nothing {
                assert_eq!(answer.status, 200, "{method} {path} {what}");
                continue;
            }
            assert!(answer.status == 401 && answer.names(expected), "{method} {path} {what}: {answer:?}");
            assert!(answer.challenge.as_deref().unwrap().starts_with("Bearer realm="), "{method} {path} {what}");
        }
        for (held, key) in &single {
            let answer = server.rest(method, &path, Some(key), body).await;
            match needs {
                Needs::Scope(scope) if scope != *held => {
                    assert!(
                        answer.status == 403 && answer.names("SCOPE_MISSING"),
                        "{method} {path} {held}: {answer:?}"
                    );
                    let challenge = answer.challenge.unwrap();
                    assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{method} {path} {held}: {challenge}");
                }
                _ => assert!(
                    answer.status < 500 && ![401, 403].contains(&answer.status),
                    "{method} {path} {held}: {answer:?}"
                ),
            }
        }
    }
}

#[tokio::test]
async fn health_over_grpc_needs_no_key_and_reflection_and_preflights_are_as_the_options_say() {
    use runlog::config::OpenRouteOption;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    let server = crate::harness::with_keys_and(|options| {
        options.access.open_routes = vec![OpenRouteOption::Metrics, OpenRouteOption::Openapi];
        options.connections.cors_origins = vec!["https://app.example".to_owned()];
    })
    .await;
    HealthClient::new(server.calls(None).await).check(HealthCheckRequest::default()).await.unwrap();
    for path in ["/metrics", "/openapi.json"] {
        assert_eq!(server.rest("GET", path, None, None).await.status, 200, "{path}");
    }
    for path in ["/", "/console/main.js", "/console/style/base.css"] {
        assert_eq!(server.rest("GET", path, None, None).await.status, 200, "{path}");
    }
    for path in ["/console/..%2f..%2f..%2f..%2fCargo.toml", "/console//etc/passwd", "/console/v1/runs"] {
        assert_eq!(server.rest("GET", path, None, None).await.status, 404, "{path}");
    }
    for path in ["/health/../v1/runs", "/health/x", "//v1/runs", "/v1/runs/", "/%761/runs", "/nothing"] {
        let answer = server.rest("GET", path, None, None).await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {answer:?}");
    }
    for method in ["HEAD", "DELETE", "TRACE", "OPTIONS"] {
        let answer = server.rest(method, "/v1/runs", None, None).await;
        assert!(answer.status >= 400 || method == "OPTIONS" && answer.body.is_empty(), "{method}: {answer:?}");
    }
    let preflight = reqwest::Client::new()
        .request(reqwest::Method::OPTIONS, format!("http://{}/v1/runs", server.address()))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status().as_u16(), 200);
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(allowed.split(',').any(|name| name.trim() == "authorization"), "`*` does not cover it: {allowed}");
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(server.calls(None).await);
    let refused = reflection.server_reflection_info(tokio_stream::iter([])).await.unwrap_err();
    assert_eq!(reason(&refused), "API_KEY_MISSING");
}
