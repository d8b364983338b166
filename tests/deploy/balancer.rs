//! `deploy/envoy.yaml`: the requests that the balancer retries, the requests that pass unchanged, and the answers
//! without a healthy replica. `tests/replicas` runs the balancer in front of real replicas.

use std::process::Command;
use std::time::Duration;

use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::run_service_client::RunServiceClient;
use runlog::pb::{
    CreateRunRequest, GetRunRequest, GetUsageRequest, ListEventsRequest, ListRunsRequest, PublishRequest,
    SubscribeRequest,
};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::envoy::{Envoy, deployed};
use crate::harness::{Data, Ran, Server, program};
use crate::process::{ASKS_FOR_KEYS, secrets, statuses};
use crate::replica::{Does, Replica};

/// Guard against a test that hangs.
const GUARD: Duration = Duration::from_secs(60);

async fn behind(does: Does, count: usize) -> Option<(Envoy, Vec<Replica>)> {
    let mut replicas = Vec::new();
    for _ in 0..count {
        replicas.push(Replica::start(does).await);
    }
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
    Some((Envoy::start(&addresses).await?, replicas))
}

fn channel(envoy: &Envoy) -> Channel {
    Endpoint::from_shared(envoy.url()).unwrap().connect_lazy()
}

fn seen(replicas: &[Replica]) -> usize {
    replicas.iter().map(|replica| replica.seen().len()).sum()
}

#[tokio::test]
async fn what_may_be_stored_already_is_not_sent_to_another_replica() {
    let Some((envoy, replicas)) = behind(Does::Die, 3).await else { return };
    let (mut events, mut runs) = (EventServiceClient::new(channel(&envoy)), RunServiceClient::new(channel(&envoy)));
    let status = events.publish(PublishRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), seen(&replicas)), (Code::Unavailable, 1), "{status:?}");
    envoy.sees(3).await;
    let status = runs.create_run(CreateRunRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), seen(&replicas)), (Code::Unavailable, 2), "{status:?}");
    // The balancer ignores retry headers of clients.
    let event = reqwest::Client::new().post(format!("{}/api/ingest", envoy.url()));
    let answer = event.header("x-envoy-retry-on", "5xx,reset").body("{}").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), seen(&replicas)), (503, 3));
}

#[tokio::test]
async fn reading_is_tried_at_another_replica() {
    let Some((envoy, replicas)) = behind(Does::Die, 2).await else { return };
    let (mut events, mut runs) = (EventServiceClient::new(channel(&envoy)), RunServiceClient::new(channel(&envoy)));
    let mut before = 0;
    let mut is_repeated = |what: &str| {
        let now = seen(&replicas);
        assert!(now - before > 1, "{what}");
        assert!(replicas.iter().all(|replica| !replica.seen().is_empty()), "{what} went to both");
        before = now;
    };
    events.list_events(ListEventsRequest::default()).await.unwrap_err();
    is_repeated("ListEvents");
    events.subscribe(SubscribeRequest::default()).await.unwrap_err();
    is_repeated("Subscribe");
    runs.get_run(GetRunRequest::default()).await.unwrap_err();
    is_repeated("GetRun");
    runs.get_usage(GetUsageRequest::default()).await.unwrap_err();
    is_repeated("GetUsage");
    runs.list_runs(ListRunsRequest::default()).await.unwrap_err();
    is_repeated("ListRuns");
    reqwest::get(format!("{}/api/runs", envoy.url())).await.unwrap();
    is_repeated("GET");
}

#[tokio::test]
async fn without_a_replica_grpc_clients_get_unavailable_and_http_clients_a_retry_after() {
    let Some(envoy) = Envoy::start(&[]).await else { return };
    let status = EventServiceClient::new(channel(&envoy)).publish(PublishRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "no healthy upstream"));
    let answer = reqwest::get(format!("{}/v1/runs", envoy.url())).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    let body: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["reason_code"], "unavailable");
}

#[tokio::test]
async fn paths_headers_and_large_bodies_reach_the_replica_as_they_were_sent() {
    let Some((envoy, replicas)) = behind(Does::Measure, 1).await else { return };
    // Larger than the balancer's buffer for a request.
    let body = "x".repeat(8 << 20);
    let sent = [
        ("authorization", "Bearer key"),
        ("idempotency-key", "order-17"),
        ("if-match", "3"),
        ("last-event-id", "7"),
        ("origin", "https://app.example.com"),
        ("x-request-id", "mine"),
        ("with_underscore", "1"),
    ];
    // curl, since an HTTP library would normalize the path.
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--path-as-is", "--data-binary", "@-", "-H", "host: runlog.example.com"]);
    curl.args(sent.iter().flat_map(|(name, value)| ["-H".to_owned(), format!("{name}: {value}")]));
    curl.arg(format!("{}/v1/runs/a%2F..%2fb//../events?types=a*&x=%20", envoy.url()));
    let answer = tokio::task::spawn_blocking(move || with_input(curl, &body)).await.unwrap();
    assert_eq!(answer, (8 << 20).to_string());
    let seen = &replicas[0].seen()[0];
    assert_eq!(seen.uri.path_and_query().unwrap(), "/v1/runs/a%2F..%2fb//../events?types=a*&x=%20");
    assert_eq!(seen.uri.authority().unwrap(), "runlog.example.com");
    for (name, value) in sent {
        assert_eq!(seen.headers[name], value);
    }
}

fn with_input(mut command: Command, input: &str) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn an_event_stream_is_passed_on_as_it_comes() {
    let Some((envoy, _replicas)) = behind(Does::Begin, 1).await else { return };
    let mut stream = reqwest::get(format!("{}/v1/runs/r/events/stream", envoy.url())).await.unwrap();
    let first = tokio::time::timeout(GUARD, stream.chunk()).await.expect("it is not held back").unwrap();
    assert_eq!(first.unwrap(), "first");
}

/// The configuration without the comment signs of the first blocks of TLS, and with certificates in this directory.
fn with_tls(config: &str, blocks: usize, directory: &str) -> String {
    let (mut text, mut begun, mut sign) = (String::new(), 0, None);
    for line in config.lines() {
        if line.trim_start().starts_with("# transport_socket:") {
            begun += 1;
            sign = Some(format!("{}# ", &line[..line.find('#').unwrap()]));
        }
        sign = sign.filter(|sign| begun <= blocks && line.starts_with(sign));
        text.push_str(
            &sign.as_ref().map_or(line.to_owned(), |sign| line.replacen(sign, sign.trim_end_matches("# "), 1)),
        );
        text.push('\n');
    }
    assert!(begun >= blocks);
    text.replace("/etc/envoy/tls", directory)
}

#[tokio::test]
async fn with_its_tls_block_it_speaks_grpc_and_http_over_tls() {
    let Some(openssl) = find("openssl") else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    let mut make = Command::new(openssl);
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    make.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    make.args(["-keyout", &format!("{path}/tls.key"), "-out", &format!("{path}/tls.crt")]);
    assert!(make.output().unwrap().status.success());
    for file in [path.clone(), format!("{path}/tls.key")] {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let replica = Replica::start(Does::Measure).await;
    let Some(envoy) = Envoy::start_with(&with_tls(&deployed(), 1, &path), &[replica.address]).await else { return };
    let server = format!("https://localhost:{}", envoy.address.port());
    let curl = |args: &[&str], input: &'static str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert", &format!("{path}/tls.crt"), "--data-binary", "@-"]).args(args);
        tokio::task::spawn_blocking(move || with_input(curl, input))
    };
    for version in ["--http1.1", "--http2"] {
        assert_eq!(curl(&[version, &format!("{server}/api/ingest")], "12345").await.unwrap(), "5", "{version}");
    }
    // An empty message, and the answer `SERVING`, in gRPC framing.
    let health = format!("{server}/grpc.health.v1.Health/Check");
    let args = ["--http2", "-H", "content-type: application/grpc", "-H", "te: trailers", &health];
    assert_eq!(curl(&args, "\0\0\0\0\0").await.unwrap(), "\0\0\0\0\u{2}\u{8}\u{1}");
}

#[tokio::test]
async fn with_both_tls_blocks_nothing_is_cleartext_and_the_replicas_check_the_keys() {
    let (secrets, data) = (secrets(), Data::new());
    for file in [None, Some("tls.key"), Some("tls.crt"), Some("ca.crt")] {
        let path = file.map_or_else(|| secrets.path().to_owned(), |file| secrets.path().join(file));
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let [key, cert, tls_key, ca] =
        ["admin.key", "tls.crt", "tls.key", "ca.crt"].map(|name| secrets.path().join(name).display().to_string());
    let options = ["--admin-key-file", &key, "--tls-cert", &cert, "--tls-key", &tls_key];
    let replica = Server::with(&data.file(), &options).await;
    // The certificate of the test has another name.
    let config =
        with_tls(&deployed(), 2, secrets.path().to_str().unwrap()).replace("exact: runlog}", "exact: localhost}");
    let Some(envoy) = Envoy::start_with(&config, &[replica.address]).await else { return };
    let server = format!("https://localhost:{}", envoy.address.port());
    for version in ["--http1.1", "--http2"] {
        assert_eq!(statuses(&server, &["--cacert", &ca, version]).await, ASKS_FOR_KEYS, "{version}");
    }
    let mut health = program();
    health.args(["health", "--server", &server, "--ca", &ca]);
    assert_eq!(Ran::of(health).await.succeeds(), "SERVING\n");
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    let found =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|of| of.join(program)).find(|p| p.exists());
    if found.is_none() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing; run tests/all.sh");
        eprintln!("SKIPPED: {program} is missing; tests/all.sh installs it");
    }
    found
}
