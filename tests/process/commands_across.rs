//! Commands with many events: publishing all of stdin, and a tail that outlives the server.

use std::fmt::Write as _;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::client;
use crate::command::{begin, end, run, run_with};
use crate::harness::{Data, Server, within};

const LINES: usize = 4_000;
const RUNS: usize = 25;

fn line(n: usize) -> String {
    let run = n % RUNS;
    format!(
        "{{\"run_id\":\"r{run}\",\"type\":\"step\",\"event_id\":\"e{n}\",\"payload\":{{ \"n\":{n}, \"é\":1.0 }}}}\n"
    )
}

/// Asserts that each run has the events of its lines in order, without the lines at `missing`.
async fn holds_all_lines(server: &Server, missing: &[usize]) {
    let mut events = server.events().await;
    for run in 0..RUNS {
        let stored = client::list(&mut events, &format!("r{run}")).await;
        let ids: Vec<_> = stored.iter().map(|event| event.event_id.clone()).collect();
        let expected = (0..LINES).filter(|n| n % RUNS == run && !missing.contains(n)).map(|n| format!("e{n}"));
        assert_eq!(ids, expected.collect::<Vec<_>>(), "the events of r{run}");
        let first = client::json_of(&stored[0]);
        assert_eq!(first, format!("{{ \"n\":{}, \"é\":1.0 }}", ids[0].trim_start_matches('e')));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_takes_thousands_of_lines_and_names_those_that_are_bad() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut input = String::new();
    for n in 0..LINES {
        match n {
            10 => input.push_str("{\"run_id\":\"r10\",\"type\":\n"),
            2_000 => input.push_str("{\"run_id\":\"r0\",\"payload\":{}}\n"),
            3_000 => input.push_str("{\"run_id\":\"two\\nlines\",\"type\":\"step\"}\n"),
            _ => input.push_str(&line(n)),
        }
    }
    let ran = run_with(&server.url(), &["publish", "--stdin"], &input).await;
    assert_eq!(ran.code, Some(65), "{ran:?}");
    for (number, word) in [(11, "JSON"), (2_001, "type"), (3_001, "run_id")] {
        let message = ran.stderr.lines().find(|message| message.contains(&format!("line {number}:")));
        assert!(message.is_some_and(|message| message.contains(word)), "line {number}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("3 of 4,000 lines were not stored"), "{}", ran.stderr);
    holds_all_lines(&server, &[10, 2_000, 3_000]).await;

    // Again: all events are stored already.
    let again = run_with(&server.url(), &["publish", "--stdin", "--json"], &input).await;
    let answers = crate::command::json_lines(&again.stdout);
    assert_eq!(answers.len(), LINES - 3);
    assert!(answers.iter().all(|answer| answer["duplicate"] == Value::Bool(true)));
    holds_all_lines(&server, &[10, 2_000, 3_000]).await;

    // Another server accepts the output of `list`.
    let everything = run(&server.url(), &["list", "--all", "--full", "--json", "-n", "0"]).await.succeeds();
    let other_data = Data::new();
    let other = Server::start(&other_data.file()).await;
    run_with(&other.url(), &["publish", "-"], &everything).await.succeeds();
    holds_all_lines(&other, &[10, 2_000, 3_000]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_goes_on_after_the_server_was_killed_and_stores_each_line_once() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let address = server.address;
    let mut publish = begin(&server.url(), &["publish", "--stdin", "--json"]);
    let mut stdin = publish.stdin.take().unwrap();
    let feeding = tokio::spawn(async move {
        for n in 0..LINES {
            stdin.write_all(line(n).as_bytes()).await.unwrap();
        }
    });
    let mut answers = BufReader::new(publish.stdout.take().unwrap()).lines();
    for _ in 0..500 {
        within("an answer", answers.next_line()).await.unwrap().unwrap();
    }
    server.kill().await;
    let server = Server::again_at(address, &data.file()).await;
    let mut numbers = Vec::new();
    while let Some(answer) = within("an answer", answers.next_line()).await.unwrap() {
        numbers.push(serde_json::from_str::<Value>(&answer).unwrap()["line"].as_u64().unwrap());
    }
    assert_eq!(numbers, (501..=LINES as u64).collect::<Vec<_>>(), "one answer a line, in their order");
    within("the end of stdin", feeding).await.unwrap();
    let ran = end("publish", publish).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("trying again"), "{ran:?}");
    holds_all_lines(&server, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_goes_on_after_the_server_was_restarted_and_prints_no_event_twice() {
    let data = Data::new();
    let mut server = Server::start(&data.file()).await;
    let (url, address) = (server.url(), server.address);
    let mut seq = client::publish_one(&mut server.events().await, "r", "step", "{}").await;
    let mut of_run = begin(&url, &["tail", "r", "--json"]);
    let mut lines = BufReader::new(of_run.stdout.take().unwrap()).lines();
    let mut of_all = begin(&url, &["tail", "--all", "--json", "--cursor", "start"]);
    let mut all_lines = BufReader::new(of_all.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    for round in 0..3 {
        // Both print all stored events; then the server ends, killed or by a drain that cuts the streams.
        while let Some(line) = within("a line", lines.next_line()).await.unwrap() {
            writeln!(printed, "{line}").unwrap();
            let other = within("a line", all_lines.next_line()).await.unwrap().unwrap();
            assert_eq!(other, line);
            if line.contains(&format!("\"seq\":{seq},")) {
                break;
            }
        }
        if round == 1 {
            server.terminate().await;
            assert_eq!(server.ended().await.0.code(), Some(0));
        } else {
            server.kill().await;
        }
        server = Server::again_at(address, &data.file()).await;
        let mut events = server.events().await;
        for _ in 0..50 {
            seq = client::publish_one(&mut events, "r", "step", "{}").await;
        }
    }
    seq = client::publish_one(&mut server.events().await, "r", "run_end", "{}").await;
    while let Some(line) = within("a line", lines.next_line()).await.unwrap() {
        writeln!(printed, "{line}").unwrap();
    }
    let ran = end("tail", of_run).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("trying again") && ran.stderr.contains("the run has ended: SUCCEEDED"), "{ran:?}");
    let seqs: Vec<_> = crate::command::json_lines(&printed).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seq).collect::<Vec<_>>());
}
