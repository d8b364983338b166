//! The command line against the real server: output and documented exit codes.

use serde_json::json;

use crate::command::{begin, end, run, run_with};
use crate::harness::{Data, Server};

#[tokio::test]
async fn what_one_command_publishes_the_others_show() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let url = server.url();
    let payload = r#"{ "b":12345678901234567890123, "a":[1.0, "é"], "input":"kept back" }"#;
    let publish = ["publish", "--run", "r", "--type", "run_start", "--payload", payload, "--agent", "a", "--json"];
    let printed = run(&url, &publish).await.json();
    assert_eq!((&printed[0]["seq"], &printed[0]["duplicate"]), (&json!(1), &json!(false)));
    let id = printed[0]["event_id"].as_str().unwrap().to_owned();
    let again = run(&url, &[&publish[..], &["--event-id", &id]].concat()).await.json();
    assert_eq!((&again[0]["seq"], &again[0]["duplicate"]), (&json!(1), &json!(true)));
    run(&url, &["publish", "--run", "r", "--type", "step"]).await.succeeds();
    run_with(&url, &["publish", "--run", "r", "--type", "run_end", "--payload", "@-"], "{\"output\": [7]}")
        .await
        .succeeds();

    let listed = run(&url, &["list", "r", "--full", "--json"]).await.succeeds();
    assert!(listed.lines().next().unwrap().ends_with(&format!("\"payload\":{payload}}}")), "as sent: {listed}");
    let of_types = run(&url, &["list", "--run", "r", "--type", "run_*", "--descending", "--json"]).await.json();
    let types: Vec<_> = of_types.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["run_end", "run_start"]);
    assert_eq!((&of_types[1]["redacted"], &of_types[1]["payload"]["input"]), (&json!(true), &json!(null)));
    let followed = run(&url, &["tail", "r", "--full", "--json"]).await;
    assert!(followed.stderr.contains("SUCCEEDED"), "{followed:?}");
    assert_eq!(followed.succeeds(), listed);
    assert_eq!(run(&url, &["list", "--all", "--full", "--json"]).await.succeeds(), listed);
    assert_eq!(run(&url, &["list", "r", "--cursor", "2", "--json"]).await.json().len(), 1);
    let last = run(&url, &["tail", "r", "-n", "1", "--json"]).await.json();
    assert_eq!(last[0]["seq"], 3);

    let runs = run(&url, &["runs", "--json"]).await.json();
    let one = run(&url, &["runs", "r", "--json"]).await.json();
    assert_eq!(runs, one);
    assert_eq!((&one[0]["status"], &one[0]["last_seq"]), (&json!("SUCCEEDED"), &json!(3)));
    assert_eq!((&one[0]["agent_name"], &one[0]["output"]), (&json!("a"), &json!([7])));
    assert!(run(&url, &["runs", "--status", "failed", "--json"]).await.json().is_empty());
    assert_eq!(run(&url, &["health"]).await.succeeds().trim(), "SERVING");
    assert_eq!(run(&url, &["health", "--service", "runlog.v1.EventService"]).await.succeeds().trim(), "SERVING");
    // The text output: one line per event, without colours outside of a terminal.
    for args in [&["list", "r"][..], &["tail", "r"], &["runs"], &["runs", "r"]] {
        let text = run(&url, args).await.succeeds();
        assert!(text.contains('r') && !text.contains('\u{1b}'), "{text:?}");
    }
    assert_eq!(run(&url, &["list", "r"]).await.succeeds().lines().count(), 3);
}

#[tokio::test]
async fn runs_are_listed_by_agent_structure_time_and_text_page_by_page() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let url = server.url();
    for (run_id, agent) in [("one", "writer"), ("two", "Reader"), ("three", "writer"), ("four", "writer")] {
        run(&url, &["publish", "--run", run_id, "--type", "run_start", "--agent", agent]).await.succeeds();
    }
    let ids = |runs: Vec<serde_json::Value>| -> Vec<String> {
        runs.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
    };
    let listed = async |args: &[&str]| ids(run(&url, &[&["runs", "--json"], args].concat()).await.json());
    let all = ["four", "three", "two", "one"];
    assert_eq!(listed(&[]).await, all);
    assert_eq!(listed(&["--agent", "Reader"]).await, ["two"]);
    assert_eq!(listed(&["--text", "READ"]).await, ["two"]);
    assert_eq!(listed(&["--text", "r", "--agent", "writer"]).await, ["four", "three", "one"]);
    assert!(listed(&["--structure", "s"]).await.is_empty());
    assert_eq!(listed(&["--since", "2020-01-01", "--until", "9000-01-01T00:00:00+02:00"]).await, all);
    assert!(listed(&["--since", "9000-01-01T00:00:00Z"]).await.is_empty());
    assert!(listed(&["--until", "2020-01-01T00:00:00Z"]).await.is_empty());
    // A run from its own time on, and not before it.
    let created = run(&url, &["runs", "three", "--json"]).await.json()[0]["created_at"].as_str().unwrap().to_owned();
    assert_eq!(listed(&["--since", &created]).await, ["four", "three"]);
    assert_eq!(listed(&["--until", &created]).await, ["two", "one"]);

    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    for left in (0..3).rev() {
        let after: Vec<&str> = cursor.iter().flat_map(|cursor| ["--cursor", cursor]).collect();
        let page = run(&url, &[&["runs", "--json", "--agent", "writer", "-n", "1"], &after[..]].concat()).await;
        let next = page.stderr.split_once("--cursor ").map(|(_, rest)| rest.split(',').next().unwrap().to_owned());
        seen.extend(ids(page.json()));
        assert!(next.is_some() || left == 0, "the next page is named");
        cursor = next;
    }
    assert_eq!(seen, ["four", "three", "one"]);
    run(&url, &["runs", "--since", "soon"]).await.fails(64, &["--since", "ISO 8601", "soon"]);
    run(&url, &["runs", "--cursor", "x"]).await.fails(65, &["cursor", "next_cursor"]);
    run(&url, &["runs", "one", "--until", "2020-01-01"]).await.fails(64, &["--until"]);
}

#[tokio::test]
async fn each_kind_of_failure_has_its_exit_code_and_says_what_to_do() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let url = server.url();
    run(&url, &["publish", "--run", "r", "--type", "step", "--event-id", "e"]).await.succeeds();

    run(&url, &["publish", "--run", "r"]).await.fails(64, &["--type"]);
    run(&url, &["list", "r", "--all"]).await.fails(64, &["--all"]);
    run(&url, &["tail", "r", "--server", "ftp://h"]).await.fails(64, &["--server"]);
    let bad_payload = run(&url, &["publish", "--run", "r", "--type", "t", "--payload", "{"]).await;
    bad_payload.fails(65, &["payload", "must be JSON", "INVALID_FIELD"]);
    run(&url, &["list", "r", "--cursor", "x"]).await.fails(65, &["CURSOR_INVALID", "cursor"]);
    run(&url, &["tail", "r", "--cursor", "99"]).await.fails(65, &["CURSOR_BEYOND_END"]);
    for command in ["list", "tail", "runs"] {
        run(&url, &[command, "nobody"]).await.fails(66, &["\"nobody\"", "RUN_NOT_FOUND"]);
    }
    let conflict = ["publish", "--run", "r", "--type", "step", "--event-id", "e", "--payload", "[]"];
    run(&url, &conflict).await.fails(73, &["EVENT_ID_CONFLICT", "\"e\""]);
    let late = ["publish", "--run", "r", "--type", "step", "--expected-last-seq", "0"];
    run(&url, &late).await.fails(73, &["SEQ_CONFLICT"]);
    server.kill().await;
    for args in [&["health"][..], &["list", "r"], &["tail", "r"], &["runs"], &late[..5]] {
        run(&url, args).await.fails(69, &["cannot connect", &url["http://".len()..]]);
    }
    run_with(&url, &["publish", "-"], "{\"run_id\":\"r\",\"type\":\"t\"}\n").await.fails(69, &["cannot connect"]);
}

#[tokio::test]
async fn a_reader_that_closes_the_pipe_ends_tail_quietly() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    crate::client::publish_one(&mut events, "r", "step", "{}").await;
    let mut tail = begin(&server.url(), &["tail", "r", "--json"]);
    let mut lines = tokio::io::BufReader::new(tail.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut line).await.unwrap();
    assert!(line.contains("\"seq\":1"));
    drop(lines);
    crate::client::publish_one(&mut events, "r", "step", "{}").await;
    let ran = end("tail", tail).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}
