//! The console in Debian's Chromium, against the real server. Each test is a script of Playwright beside this file.
//! `tests/all.sh` installs Node.js, Chromium and the packages, and runs the type checker and the linter over the page.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test says what it means")]

#[path = "../support/process.rs"]
mod process;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use process::{Data, Ran, Server, program};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::Mutex;

/// One browser at a time: each takes as much of the machine as it gets.
static BROWSER: Mutex<()> = Mutex::const_new(());

/// Node.js and Chromium; `None` where they are missing, which fails on CI.
fn tools() -> Option<(String, String)> {
    let tools = std::env::var("RUNLOG_TEST_NODE").ok().zip(std::env::var("RUNLOG_TEST_CHROMIUM").ok());
    if tools.is_none() {
        let reason = "RUNLOG_TEST_NODE or RUNLOG_TEST_CHROMIUM is not set";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}; run tests/all.sh");
        eprintln!("SKIPPED: the console in a browser: {reason}; tests/all.sh sets them");
    }
    tools
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a script against a new server.
async fn succeeds(script: &str, options: &[&str], arguments: &[&str]) {
    succeeds_on(Data::new(), script, options, arguments).await;
}

/// Runs a script against a server on this file. The script may have the server killed and started again.
async fn succeeds_on(data: Data, script: &str, options: &[&str], arguments: &[&str]) {
    let Some((node, chromium)) = tools() else { return };
    let _one = BROWSER.lock().await;
    let server = Server::with(&data.file(), options).await;
    let mut command = Command::new(node);
    command.arg(root().join("tests/console").join(script)).arg(server.url()).args(arguments);
    command.env("RUNLOG_TEST_CHROMIUM", chromium).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stderr = child.stderr.take().unwrap();
    let errors = tokio::spawn(async move {
        let mut text = String::new();
        stderr.read_to_string(&mut text).await.unwrap();
        text
    });
    let (mut lines, mut said) = (BufReader::new(output).lines(), String::new());
    let (address, mut running) = (server.address, Some(server));
    while let Some(line) = lines.next_line().await.unwrap() {
        match line.as_str() {
            "@kill" => running.take().unwrap().kill().await,
            "@start" => running = Some(Server::again_at(address, &data.file()).await),
            other => {
                said.push_str(other);
                said.push('\n');
                eprintln!("{script}: {other}");
                continue;
            }
        }
        input.write_all(b"done\n").await.unwrap();
    }
    let status = child.wait().await.unwrap();
    assert!(status.success(), "{script}: {said}{}", errors.await.unwrap());
}

/// Creates a key with these scopes in a file that no server owns; returns its text.
async fn key(data: &Path, name: &str, scopes: &[&str]) -> String {
    let mut command = program();
    command.args(["keys", "create", "--data", data.to_str().unwrap(), "--name", name, "--json"]);
    for scope in scopes {
        command.args(["--scope", scope]);
    }
    let created = Ran::of(command).await.json();
    created[0]["key"].as_str().unwrap_or_else(|| panic!("{created:?}")).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_fills_by_itself_and_a_run_is_followed_to_its_end() {
    succeeds("list.mjs", &["--demo"], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_and_the_run_goes_on_is_cancelled_and_refusals_are_in_words() {
    succeeds("steer.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again_leaves_no_gap_and_no_duplicate_in_the_page() {
    succeeds("restart.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_500_000_events_opens_scrolls_and_takes_bounded_memory() {
    succeeds("long.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_full_of_html_and_script_does_nothing_and_the_policy_holds() {
    succeeds("hostile.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_ended_is_played_paused_and_stepped() {
    succeeds("replay.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_shown_by_agent_model_and_day_and_the_list_is_filtered_by_the_server() {
    succeeds("usage.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_counted_by_status_whether_loaded_or_not_under_the_other_filters() {
    succeeds("counts.mjs", &[], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_the_console_for_its_tab_and_its_scopes_are_shown_and_held() {
    let data = Data::new();
    let reader = key(&data.file(), "reader", &["events.read"]).await;
    let writer =
        key(&data.file(), "writer", &["events.publish", "events.read", "events.read_sensitive", "runs.write"]).await;
    succeeds_on(data, "keys.mjs", &[], &[&reader, &writer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_program_of_the_readme_follows_its_run_to_its_end() {
    succeeds("readme.mjs", &[], &[]).await;
}

#[tokio::test]
async fn streams_are_parsed_wherever_they_are_cut_and_events_of_any_shape_are_paired_and_described() {
    let Some((node, _)) = tools() else { return };
    let mut command = Command::new(node);
    command.arg(root().join("tests/console/units.mjs"));
    Ran::of(command).await.succeeds();
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_serious_in_light_and_dark_and_a_phone_is_wide_enough() {
    let pictures: PathBuf = root().join("target/console");
    succeeds("look.mjs", &["--demo"], &[pictures.to_str().unwrap()]).await;
}
