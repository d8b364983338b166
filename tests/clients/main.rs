//! Clients in other languages against the real server: stubs generated from `proto/`, and published client libraries.
//! `tests/all.sh` installs them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

#[path = "../support/certificates.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod certificates;
#[path = "../support/ran.rs"]
mod ran;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod server;

use std::io::ErrorKind;
use std::path::PathBuf;

use certificates::{Authority, put};
use ran::Ran;
use server::TestServer;
use tokio::process::Command;

/// Notes that a test cannot run here, which fails on CI.
fn skip(what: &str, reason: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}; run tests/all.sh");
    eprintln!("SKIPPED: {what}: {reason}; tests/all.sh sets it");
}

/// Runs `script` with the interpreter named by the environment variable `variable`, against a new server.
async fn client_succeeds(variable: &str, script: &str) {
    match std::env::var(variable) {
        Ok(interpreter) => succeeds(interpreter, script).await,
        Err(_) => skip(script, &format!("{variable} is not set")),
    }
}

/// The same against a server with TLS. The second argument of the script is the file of its authority.
async fn tls_client_succeeds(variable: &str, script: &str) {
    let Ok(interpreter) = std::env::var(variable) else {
        return skip(script, &format!("{variable} is not set"));
    };
    let (mut server, authority) = start_with_tls().await;
    let mut client = Command::new(interpreter);
    client.arg(path(script)).arg(server.address().to_string()).arg(authority).current_dir(server.directory());
    let ran = Ran::of(client).await;
    server.stop().await;
    ran.succeeds();
}

/// Runs `script` with the path of the program, which it starts, kills and starts again itself.
async fn publisher_succeeds(script: &str) {
    let Ok(interpreter) = std::env::var("RUNLOG_TEST_PUBLISHERS") else {
        return skip(script, "RUNLOG_TEST_PUBLISHERS is not set");
    };
    let mut client = Command::new(interpreter);
    client.arg(path(script)).arg(env!("CARGO_BIN_EXE_runlog"));
    Ran::of(client).await.succeeds();
}

async fn succeeds(interpreter: String, script: &str) {
    let mut server = TestServer::start_with(|options| {
        // The shortest interval: a client waits for heartbeats.
        options.reading.sse_heartbeat = std::time::Duration::from_secs(1);
    })
    .await;
    let mut client = Command::new(interpreter);
    // Scratch files of the client go to a temporary directory.
    client.arg(path(script)).arg(server.address().to_string()).current_dir(server.directory());
    let ran = Ran::of(client).await;
    server.stop().await;
    ran.succeeds();
}

/// A server with TLS, and the file of its authority.
async fn start_with_tls() -> (TestServer, PathBuf) {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new("runlog test"));
    let pair = authority.pair();
    let file = |name, text: &str| put(directory.path(), name, text);
    let (ca, cert, key) = (file("ca.pem", authority.pem()), file("cert.pem", &pair.cert), file("key.pem", &pair.key));
    let server = TestServer::start_in(directory, |options| {
        (options.tls.tls_cert, options.tls.tls_key) = (Some(cert), Some(key));
    })
    .await;
    (server, ca)
}

fn path(script: &str) -> String {
    format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_service_publishes_lists_follows_and_discovers() {
    client_succeeds("RUNLOG_TEST_PYTHON", "python/grpc_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_service_does_the_same_over_tls() {
    tls_client_succeeds("RUNLOG_TEST_PYTHON", "python/grpc_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reads_over_tls_by_http_1_and_http_2_and_trusts_the_authority_alone() {
    tls_client_succeeds("RUNLOG_TEST_NODE", "node/tls.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_publishes_and_reads_over_tls_by_http_1_and_http_2() {
    let version = match Command::new("curl").arg("--version").output().await {
        Err(error) if error.kind() == ErrorKind::NotFound => return skip("curl over TLS", "there is no curl"),
        version => Ran::from(version.unwrap()).succeeds(),
    };
    let (mut server, authority) = start_with_tls().await;
    let base = format!("https://{}", server.address());
    let curl = async |protocol: &str, args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", protocol, "--write-out", " %{http_version}"]);
        curl.arg("--cacert").arg(&authority).args(args);
        Ran::of(curl).await.succeeds()
    };
    let (ingest, run) = (format!("{base}/api/ingest"), format!("{base}/v1/runs/curl"));
    let event = r#"{"event_type":"step","sdk_run_id":"curl","payload":{}}"#;
    curl("--http1.1", &["--json", event, &ingest]).await;
    let answer = curl("--http1.1", &[&run]).await;
    assert!(answer.contains("curl") && answer.ends_with(" 1.1"), "{answer}");
    if version.contains("HTTP2") {
        let answer = curl("--http2", &[&run]).await;
        assert!(answer.contains("curl") && answer.ends_with(" 2"), "{answer}");
    } else {
        skip("curl over TLS by HTTP/2", "this curl does not speak HTTP/2");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_griptape_drivers_publish_retry_and_follow() {
    client_succeeds("RUNLOG_TEST_PYTHON", "python/griptape_driver.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_observability_driver_loses_no_span() {
    client_succeeds("RUNLOG_TEST_PYTHON", "python/griptape_spans.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_generated_client_creates_lists_gets_cancels_reads_logs_and_follows() {
    // The client needs Python 3.12; without a new Python the test prints a note and passes.
    match std::env::var("RUNLOG_TEST_NEW_PYTHON") {
        Ok(interpreter) => succeeds(interpreter, "python/generated_client.py").await,
        Err(_) => {
            eprintln!("SKIPPED: python/generated_client.py: it needs Python 3.12 or newer; tests/all.sh looks for one")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_publisher_loses_and_repeats_nothing_over_kills_and_lost_answers_and_counts_what_it_drops() {
    publisher_succeeds("python/publisher_core.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_publisher_trusts_the_given_authority_alone() {
    tls_client_succeeds("RUNLOG_TEST_PUBLISHERS", "python/publisher_tls.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn langchain_and_langgraph_publish_each_event_once_and_in_order_over_a_killed_server() {
    publisher_succeeds("python/langchain_publisher.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_agents_sdk_publishes_each_event_once_and_in_order_over_a_killed_server() {
    publisher_succeeds("python/openai_agents_publisher.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_of_the_python_package_is_right() {
    publisher_succeeds("python/publisher_readme.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn httpx_sse_reads_a_run_over_cut_connections_once_each_to_its_end() {
    client_succeeds("RUNLOG_TEST_PYTHON", "python/sse_client.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eventsource_reads_a_run_over_cut_connections_once_each_and_stops_by_itself() {
    client_succeeds("RUNLOG_TEST_NODE", "node/eventsource.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_event_source_reads_a_run_over_cut_connections_once_each_to_its_end() {
    client_succeeds("RUNLOG_TEST_NODE", "node/fetch_event_source.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_streams_are_read_by_published_clients_that_take_no_heartbeat_for_an_event() {
    client_succeeds("RUNLOG_TEST_NODE", "node/filtered.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_and_eventsource_reach_runs_of_any_id() {
    client_succeeds("RUNLOG_TEST_NODE", "node/run_ids.mjs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_property_based_tester_finds_no_server_error_and_nothing_undocumented() {
    client_succeeds("RUNLOG_TEST_TESTER", "python/api_tester.py").await;
}
