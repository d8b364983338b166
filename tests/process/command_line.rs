//! The command line itself: forms of output, names of options, variables, profiles, completions and pages of the manual.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::client;
use crate::command::{begin, end, json_lines, run};
use crate::harness::{Data, Ran, Server, program, within};
use crate::transfer::NOWHERE;

/// Runs a command with these variables.
async fn run_in(variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = program();
    command.args(args).envs(variables.iter().copied());
    within(args[0], Ran::of(command)).await
}

async fn with_two_runs(data: &Data) -> Server {
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    client::publish_one(&mut events, "r", "run_start", "{}").await;
    client::publish_one(&mut events, "r", "run_end", "{\"total_tokens\":195}").await;
    client::publish_one(&mut events, "a-run-with-a-long-id", "run.coordination.decision", "{}").await;
    server
}

#[tokio::test]
async fn each_command_prints_a_table_a_document_or_a_line_for_each_result() {
    let data = Data::new();
    let server = with_two_runs(&data).await;
    let url = server.url();
    for (args, results) in [
        (&["list", "--all"][..], 3),
        (&["tail", "r"], 2),
        (&["runs"], 2),
        (&["list", "r", "--type", "nothing"], 0),
        (&["runs", "--status", "failed"], 0),
    ] {
        let in_form = async |form| run(&url, &[args, &["--output", form]].concat()).await;
        let document: Vec<Value> = serde_json::from_str(&in_form("json").await.succeeds()).unwrap();
        let lines = in_form("jsonl").await.json();
        assert_eq!((document.len(), &document), (results, &lines), "{args:?}");
        assert_eq!(run(&url, &[args, &["--json"]].concat()).await.json(), lines, "{args:?}");
        let table = in_form("table").await;
        assert_eq!(run(&url, args).await.stdout, table.stdout, "{args:?}");
        // People read on stderr that there is nothing; a program reads an empty array.
        assert_eq!(results == 0, table.stdout.is_empty() && table.stderr.contains("no "), "{args:?}: {table:?}");
    }
    for args in [&["runs", "r"][..], &["publish", "--run", "r", "--type", "step"]] {
        let one = run(&url, &[args, &["--output", "json"]].concat()).await.json();
        assert_eq!((one.len(), &one[0]["run_id"]), (1, &json!("r")));
    }
    let file = data.directory().join("other.db");
    let keys = ["keys", "list", "--data", file.to_str().unwrap(), "--output", "json"];
    run(NOWHERE, &["migrate", "--data", file.to_str().unwrap()]).await.succeeds();
    assert_eq!(run(NOWHERE, &keys).await.succeeds(), "[]\n");
    let check = ["check", "--listen", "127.0.0.1:0", "--data", file.to_str().unwrap(), "--output", "json"];
    let checks: Vec<Value> = serde_json::from_str(&run(NOWHERE, &check).await.stdout).unwrap();
    assert_eq!(checks[0]["check"], "configuration");
    run(&url, &["list", "r", "--json", "--output", "table"]).await.fails(64, &["--output"]);
}

#[tokio::test]
async fn a_document_is_whole_after_a_failure_too() {
    let data = Data::new();
    let server = with_two_runs(&data).await;
    let url = server.url();
    let follow = ["tail", "--all", "--cursor", "start", "--reconnect-for", "0s", "--output", "json"];
    let mut tail = begin(&url, &follow);
    let mut output = tail.stdout.take().unwrap();
    let mut document = Vec::new();
    while !document.windows(20).any(|part| part == b"a-run-with-a-long-id") {
        assert!(within("an event", output.read_buf(&mut document)).await.unwrap() > 0);
    }
    server.kill().await;
    within("the end of the document", output.read_to_end(&mut document)).await.unwrap();
    assert_ne!(end("tail", tail).await.code, Some(0));
    assert_eq!(serde_json::from_slice::<Vec<Value>>(&document).unwrap().len(), 3);
    for args in [&["list", "r"][..], &["tail", "r"], &["runs"]] {
        let ran = run(&url, &[args, &["--output", "json"]].concat()).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(69), "[]\n"), "{args:?}");
        run(&url, &[args, &["--output", "jsonl"]].concat()).await.fails(69, &["cannot connect"]);
    }
}

#[tokio::test]
async fn a_cursor_and_a_limit_have_one_name_and_the_old_names_go_on() {
    let data = Data::new();
    let server = with_two_runs(&data).await;
    let url = server.url();
    for cursor in ["--cursor", "--from"] {
        let seqs = run(&url, &["tail", "r", cursor, "1", "--json"]).await.json();
        assert_eq!((seqs.len(), &seqs[0]["seq"]), (1, &json!(2)), "exclusive");
    }
    for limit in ["--limit", "--lines", "-n"] {
        assert_eq!(run(&url, &["tail", "r", limit, "1", "--json"]).await.json()[0]["seq"], 2, "the latest");
        assert_eq!(run(&url, &["tail", "r", limit, "0", "--json"]).await.json().len(), 2, "0 is for all");
    }
    for file in ["--file", "--output", "-o"] {
        let to = data.directory().join(file);
        run(&url, &["export", file, to.to_str().unwrap()]).await.succeeds();
        assert_eq!(std::fs::read_to_string(to).unwrap().lines().count(), 5);
    }
    for help in ["list", "tail", "export"] {
        let text = run(&url, &[help, "--help"]).await.succeeds();
        assert!(!text.contains("--from") && !text.contains("--lines"), "{text}");
    }
}

#[tokio::test]
async fn columns_are_aligned_and_usage_shows_what_is_known() {
    let data = Data::new();
    let server = with_two_runs(&data).await;
    let table = run(&server.url(), &["list", "--all"]).await.succeeds();
    let places: Vec<_> = table.lines().map(|line| line.find('#').unwrap()).collect();
    assert!(places.len() == 3 && places.iter().all(|place| *place == places[0]), "{table}");
    let shown = run(&server.url(), &["runs", "r"]).await.succeeds();
    assert!(shown.lines().any(|line| line == "usage      195 total tokens"), "{shown}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found_and_a_path_is_no_part_of_a_server() {
    let data = Data::new();
    let missing = data.directory().join("missing");
    let missing = missing.to_str().unwrap();
    let payload = format!("@{missing}");
    let file = data.file();
    run(NOWHERE, &["publish", "--run", "r", "--type", "t", "--payload", &payload]).await.fails(66, &["--payload"]);
    run(NOWHERE, &["list", "r", "--key", missing]).await.fails(66, &["--key"]);
    run("https://127.0.0.1:1", &["list", "r", "--ca", missing]).await.fails(66, &["--ca"]);
    run(NOWHERE, &["import", missing, "--data", file.to_str().unwrap()]).await.fails(66, &["missing"]);
    run(NOWHERE, &["export", "--data", missing]).await.fails(66, &["no store"]);
    run(NOWHERE, &["--profile", "p", "list", "r"]).await.fails(66, &["config.toml", "RUNLOG_CONFIG"]);
    run("http://127.0.0.1:1/v1", &["runs"]).await.fails(64, &["--server", "leave /v1 out"]);
}

#[tokio::test]
async fn a_variable_that_is_empty_is_an_unset_one_for_every_option() {
    let data = Data::new();
    let server = with_two_runs(&data).await;
    let file = data.directory().join("new.db");
    let options = std::fs::read_to_string("deploy/runlog.env").unwrap();
    let names: Vec<&str> =
        options.lines().filter_map(|line| line.strip_prefix('#')?.split_once('=')).map(|(name, _)| name).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| name.starts_with("RUNLOG_")).collect();
    assert!(names.len() > 50, "{names:?}");
    let mut empty: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
    run_in(&empty, &["check", "--listen", "127.0.0.1:0", "--data", file.to_str().unwrap()]).await.succeeds();
    let of_client = ["SERVER", "TIMEOUT", "CA", "CERT", "CERT_KEY", "KEY", "KEY_FILE", "PROFILE", "CONFIG"];
    let of_client = of_client.map(|name| format!("RUNLOG_{name}"));
    empty.extend(of_client.iter().map(|name| (name.as_str(), "")));
    run_in(&empty, &["list", "r", "--server", &server.url()]).await.succeeds();
}

#[tokio::test]
async fn a_profile_names_server_and_key_and_options_and_variables_win_over_it() {
    let (data, other) = (Data::new(), Data::new());
    let server = with_two_runs(&data).await;
    let second = Server::start(&other.file()).await;
    let home = data.directory().join("home");
    std::fs::create_dir_all(home.join("runlog")).unwrap();
    std::fs::create_dir_all(home.join(".config/runlog")).unwrap();
    let key = home.join("runlog/prod.key");
    std::fs::write(&key, "key_abc:0123456789012345678901234\n").unwrap();
    let mode = |bits| std::fs::set_permissions(&key, PermissionsExt::from_mode(bits)).unwrap();
    mode(0o600);
    std::fs::set_permissions(data.directory(), PermissionsExt::from_mode(0o700)).unwrap();
    let text = format!("[profiles.prod]\nserver = \"{}\"\nkey_file = \"prod.key\"\n\n[profiles.other]\n", server.url());
    std::fs::write(home.join("runlog/config.toml"), &text).unwrap();
    std::fs::write(home.join(".config/runlog/config.toml"), text.replace("prod.key", "../../runlog/prod.key")).unwrap();
    let named = data.directory().join("named.toml");
    std::fs::write(&named, format!("[profiles.prod]\nserver = \"{}\"\n", second.url())).unwrap();
    let home = home.to_str().unwrap();
    let (xdg, named) = (("XDG_CONFIG_HOME", home), ("RUNLOG_CONFIG", named.to_str().unwrap()));
    let runs = async |variables: &[(&str, &str)], args: &[&str]| {
        json_lines(&run_in(variables, &[args, &["--json"]].concat()).await.succeeds()).len()
    };
    assert_eq!(runs(&[xdg], &["--profile", "prod", "runs"]).await, 2);
    assert_eq!(runs(&[xdg], &["runs", "--profile", "prod"]).await, 2);
    assert_eq!(runs(&[xdg, ("RUNLOG_PROFILE", "prod")], &["runs"]).await, 2);
    assert_eq!(runs(&[("HOME", home), ("XDG_CONFIG_HOME", ""), ("RUNLOG_PROFILE", "prod")], &["runs"]).await, 2);
    assert_eq!(runs(&[xdg, named, ("RUNLOG_PROFILE", "prod")], &["runs"]).await, 0, "RUNLOG_CONFIG names another file");
    assert_eq!(runs(&[xdg], &["runs", "--profile", "prod", "--server", &second.url()]).await, 0, "an option wins");
    assert_eq!(runs(&[xdg, ("RUNLOG_SERVER", &second.url())], &["runs", "--profile", "prod"]).await, 0);
    assert_eq!(runs(&[xdg, ("RUNLOG_PROFILE", "other")], &["runs", "--profile", "prod"]).await, 2);
    // The key is sent: a text that is none is refused by the client.
    std::fs::write(&key, "no key").unwrap();
    run_in(&[xdg], &["runs", "--profile", "prod"]).await.fails(64, &["--key", "no key"]);
    run_in(&[xdg], &["runs", "--profile", "prod", "--server", &server.url()]).await.fails(64, &["--key", "no key"]);
    // It is for the server of the profile only.
    assert_eq!(runs(&[xdg], &["runs", "--profile", "prod", "--server", &second.url()]).await, 0);
    assert_eq!(runs(&[xdg, ("RUNLOG_SERVER", &second.url())], &["--profile", "prod", "runs"]).await, 0);
    let given = ["runs", "--profile", "prod", "--server", &second.url(), "--key", key.to_str().unwrap()];
    run_in(&[xdg], &given).await.fails(64, &["--key", "no key"]);
    let valid = ("RUNLOG_KEY", "key_abc:0123456789012345678901234");
    assert_eq!(runs(&[xdg, valid], &["runs", "--profile", "prod"]).await, 2, "the variable wins");
    run_in(&[xdg], &["runs", "--profile", "nope"]).await.fails(64, &["no profile \"nope\"", "other, prod"]);
    run_in(&[xdg], &["--profile", "prod", "completions", "bash"]).await.fails(64, &["calls no server"]);
    run_in(&[xdg, ("RUNLOG_PROFILE", "prod")], &["completions", "bash"]).await.succeeds();
    // The directory keeps others from the file, until it does not.
    mode(0o644);
    assert_eq!(runs(&[xdg, valid], &["runs", "--profile", "prod"]).await, 2);
    std::fs::set_permissions(data.directory(), PermissionsExt::from_mode(0o755)).unwrap();
    run_in(&[xdg], &["runs", "--profile", "prod"]).await.fails(64, &["key_file", "other users", "chmod 600"]);
}

#[tokio::test]
async fn shells_and_man_get_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = run(NOWHERE, &["completions", shell]).await.succeeds();
        assert!(text.contains("runlog") && text.contains("publish") && text.contains("profile"), "{shell}");
    }
    let page = run(NOWHERE, &["man"]).await.succeeds();
    assert!(page.contains(".TH runlog 1") && page.contains("the server is unavailable"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    run(NOWHERE, &["man", "--directory", directory.path().to_str().unwrap()]).await.succeeds();
    for name in ["runlog", "runlog-serve", "runlog-tail", "runlog-keys-create"] {
        let page = std::fs::read_to_string(directory.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{name}");
    }
    run(NOWHERE, &["man", "--directory", "/nowhere/at/all"]).await.fails(66, &["--directory"]);
}

#[tokio::test]
async fn a_server_listens_on_all_addresses_of_a_name() {
    let data = Data::new();
    let mut command = program();
    command.args(["serve", "--listen", "localhost:0", "--log-format", "json", "--data", data.file().to_str().unwrap()]);
    let server = crate::harness::Process::with_output(command);
    let port = server.address().await.port();
    let addresses: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", port)).unwrap().collect();
    let mut reached = 0;
    for address in &addresses {
        // A machine without IPv6 may still have ::1 as an address of the name.
        if std::net::TcpListener::bind((address.ip(), 0)).is_ok() {
            run(&format!("http://{address}"), &["health"]).await.succeeds();
            reached += 1;
        }
    }
    assert!(reached > 0, "{addresses:?}");
    run(NOWHERE, &["serve", "--listen", "localhost"]).await.fails(64, &["--listen", "localhost:7800"]);
}
