//! Clients in other languages against the real server: stubs generated from `proto/`, and published client libraries.
//! `tests/all.sh` installs them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

#[path = "../support/certificates.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod certificates;
mod languages;
#[path = "../support/process.rs"]
mod process;
mod script;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod server;

use std::io::ErrorKind;
use std::path::PathBuf;

use certificates::{Authority, put};
use process::Ran;
use runlog::config::{FinishOption, KeyText, ServeOptions};
use runlog::pb::CreateKeyRequest;
use runlog::pb::key_service_client::KeyServiceClient;
use script::Script;
use server::TestServer;
use tokio::process::Command;
use tonic::Request;

/// Notes that a test cannot run here, which fails on CI.
fn skip(what: &str, reason: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}; run tests/all.sh");
    eprintln!("SKIPPED: {what}: {reason}; tests/all.sh sets it");
}

/// Runs `script` with the interpreter named by the environment variable `variable`, against a new server.
async fn client_succeeds(variable: &str, script: &str) {
    match std::env::var(variable) {
        Ok(interpreter) => succeeds(interpreter, script, &[]).await,
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

async fn succeeds(interpreter: String, script: &str, arguments: &[String]) {
    succeeds_with(|_| {}, interpreter, script, arguments).await;
}

async fn succeeds_with(
    change: impl FnOnce(&mut ServeOptions),
    interpreter: String,
    script: &str,
    arguments: &[String],
) {
    let mut server = TestServer::start_with(|options| {
        // The shortest interval: a client waits for heartbeats.
        options.reading.sse_heartbeat = std::time::Duration::from_secs(1);
        change(options);
    })
    .await;
    let mut client = Command::new(interpreter);
    // Scratch files of the client go to a temporary directory.
    client.arg(path(script)).arg(server.address().to_string()).args(arguments).current_dir(server.directory());
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
async fn grpclib_gets_the_status_and_the_cursor_of_a_subscription_that_a_drain_ends() {
    let script = "python/grpclib_drain.py";
    let Ok(python) = std::env::var("RUNLOG_TEST_PYTHON") else {
        return skip(script, "RUNLOG_TEST_PYTHON is not set");
    };
    let mut server = TestServer::start().await;
    let mut client = Script::start(&python, &path(script), &[&server.address().to_string()], server.directory());
    assert_eq!(client.line().await, "@drain");
    server.begin_to_drain();
    client.succeeds().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_web_and_grpc_web_publish_list_and_follow_from_a_page_of_another_origin_in_chromium() {
    const ADMIN: &str = "key_admin:0123456789abcdefghijklmnop";
    let script = "web/browser.mjs";
    let tools = std::env::var("RUNLOG_TEST_NODE").ok().zip(std::env::var("RUNLOG_TEST_CHROMIUM").ok());
    let Some((node, _)) = tools else {
        return skip(script, "RUNLOG_TEST_NODE or RUNLOG_TEST_CHROMIUM is not set");
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut client = Script::start(&node, &path(script), &[], scratch.path());
    let origin = client.line().await;
    let mut server = TestServer::start_with(|options| {
        options.connections.cors_origins = vec![origin];
        options.access.admin_key = Some(KeyText::from(ADMIN.to_owned()));
    })
    .await;
    let scopes = ["events.publish", "events.read"].map(str::to_owned).to_vec();
    let mut create = Request::new(CreateKeyRequest { name: "a page".to_owned(), scopes, ..Default::default() });
    create.metadata_mut().insert("authorization", format!("Bearer {ADMIN}").parse().unwrap());
    let mut keys = KeyServiceClient::connect(format!("http://{}", server.address())).await.unwrap();
    let key = keys.create_key(create).await.unwrap().into_inner().secret_key;
    client.send(&format!("{} {key}", server.address())).await;
    client.succeeds().await;
    server.stop().await;
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
async fn a_plain_griptape_pipeline_ends_its_run_with_the_option() {
    let script = "python/griptape_pipeline.py";
    let Ok(interpreter) = std::env::var("RUNLOG_TEST_PYTHON") else {
        return skip(script, "RUNLOG_TEST_PYTHON is not set");
    };
    let on = |options: &mut ServeOptions| options.writing.finish_ends_run = FinishOption::On;
    succeeds_with(on, interpreter, script, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_observability_driver_loses_no_span() {
    client_succeeds("RUNLOG_TEST_PYTHON", "python/griptape_spans.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vendors_generated_client_creates_lists_gets_cancels_reads_logs_and_follows() {
    // The client needs Python 3.12; without a new Python the test prints a note and passes.
    match std::env::var("RUNLOG_TEST_NEW_PYTHON") {
        Ok(interpreter) => succeeds(interpreter, "python/generated_client.py", &[]).await,
        Err(_) => {
            eprintln!("SKIPPED: python/generated_client.py: it needs Python 3.12 or newer; tests/all.sh looks for one")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_made_from_the_description_compile_publish_list_follow_and_read_errors() {
    let script = "openapi/clients.py";
    let Ok(interpreter) = std::env::var("RUNLOG_TEST_OPENAPI") else {
        return skip(script, "RUNLOG_TEST_OPENAPI is not set");
    };
    let mut tools = Vec::new();
    for (tool, variable) in
        [("node", "RUNLOG_TEST_OPENAPI_NODE"), ("go", "RUNLOG_TEST_GO"), ("java", "RUNLOG_TEST_JAVA")]
    {
        match std::env::var(variable) {
            Ok(at) => tools.push(format!("{tool}={at}")),
            Err(_) => skip(&format!("{script}: what needs {tool}"), &format!("{variable} is not set")),
        }
    }
    succeeds(interpreter, script, &tools).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_publisher_loses_and_repeats_nothing_over_kills_and_lost_answers_and_counts_what_it_drops() {
    publisher_succeeds("python/publisher_core.py").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_publisher_keeps_its_promises_at_its_limits() {
    publisher_succeeds("python/publisher_limits.py").await;
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
async fn ag_ui_s_client_follows_a_run_of_each_vocabulary_cut_and_resumed_after_every_event() {
    client_succeeds("RUNLOG_TEST_NODE", "ag-ui/follow.mjs").await;
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
