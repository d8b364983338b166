//! Clients in other languages against the real server: stubs generated from `proto/`, and published client libraries.
//! `tests/all.sh` installs them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

#[path = "../support/ran.rs"]
mod ran;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod server;

use ran::Ran;
use server::TestServer;
use tokio::process::Command;

/// Runs `script` with the interpreter named by the environment variable `variable`, against a new server.
async fn client_succeeds(variable: &str, script: &str) {
    let Ok(interpreter) = std::env::var(variable) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{variable} is not set; run tests/all.sh");
        eprintln!("SKIPPED: {script}: {variable} is not set; tests/all.sh sets it");
        return;
    };
    succeeds(interpreter, script).await;
}

async fn succeeds(interpreter: String, script: &str) {
    let mut server = TestServer::start_with(|options| {
        // The shortest interval: a client waits for heartbeats.
        options.reading.sse_heartbeat = std::time::Duration::from_secs(1);
    })
    .await;
    let mut client = Command::new(interpreter);
    client.arg(format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"))).arg(server.address().to_string());
    // Scratch files of the client go to a temporary directory.
    client.current_dir(server.directory());
    let ran = Ran::of(client).await;
    server.stop().await;
    ran.succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_service_publishes_lists_follows_and_discovers() {
    client_succeeds("RUNLOG_TEST_PYTHON", "python/grpc_client.py").await;
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
