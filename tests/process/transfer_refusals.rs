//! Refused exports and imports, and their errors.

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::client;
use crate::command::{run, run_with};
use crate::harness::{Data, Server};
use crate::transfer::{NOWHERE, body, export, import};

/// A store of twelve events of three runs, exported; its lines.
pub async fn exported(data: &Data) -> (PathBuf, Vec<String>) {
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    for n in 0..12 {
        let event = client::event(&format!("e{n}"), "step", &format!("{{\"n\":{n}}}"));
        events.publish(client::publish(&format!("r{}", n % 3), vec![event])).await.unwrap();
    }
    let file = data.directory().join("export");
    run(&server.url(), &["export", "-o", file.to_str().unwrap()]).await.succeeds();
    server.terminate().await;
    server.ended().await;
    let lines = std::fs::read_to_string(&file).unwrap().lines().map(ToOwned::to_owned).collect();
    (file, lines)
}

/// The lines with a matching trailer: a changed file with a valid checksum.
pub fn with_trailer(lines: &[String]) -> Vec<String> {
    let events = &lines[1..lines.len() - 1];
    let hash = events.iter().fold(Sha256::new(), |hash, line| hash.chain_update(line).chain_update("\n"));
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let runs = events.iter().filter(|line| line.contains("\"seq\":1,")).count();
    let count = events.len();
    let end = format!("{{\"runlog_export_end\":1,\"events\":{count},\"runs\":{runs},\"sha256\":\"{hash}\"}}");
    [&lines[..lines.len() - 1], &[end]].concat()
}

/// Imports the lines into a new store; returns the result and the number of stored events.
async fn imported(lines: &[String]) -> (crate::command::Ran, usize) {
    let target = Data::new();
    let file = target.directory().join("lines");
    std::fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let path = target.file();
    let ran = import(&file, &["--data", path.to_str().unwrap()]).await;
    if !path.exists() {
        return (ran, 0);
    }
    let copy = target.directory().join("copy");
    export(&["--data", path.to_str().unwrap()], &copy).await.succeeds();
    let stored = body(&copy).lines().count() - 1;
    (ran, stored)
}

#[tokio::test]
async fn a_damaged_line_is_named_with_its_field_and_nothing_of_the_file_is_imported() {
    let data = Data::new();
    let (_, lines) = exported(&data).await;
    for (line, good, bad, words) in [
        (6, "\"run_id\":\"r1\"", "\"run_id\":\"r\\t1\"", ["line 6:", "run_id"]),
        (6, "\"type\":\"step\",", "", ["line 6:", "type: is missing"]),
        (6, "\"seq\":2", "\"seq\":true", ["line 6:", "seq"]),
        (6, "\"payload\":{", "\"payload\":{{", ["line 6:", "JSON"]),
        // The trailer does not match the lines.
        (6, "\"payload\":{\"n\":4}", "\"payload\":{\"n\":5}", ["line 14:", "sha256"]),
        (14, "\"events\":12", "\"events\":13", ["line 14:", "events"]),
        (1, "\"runlog_export\":1", "\"runlog_export\":2", ["line 1:", "version 1"]),
        (1, "runlog_export", "other", ["line 1:", "header"]),
    ] {
        let mut lines = lines.clone();
        assert!(lines[line - 1].contains(good), "{good}");
        lines[line - 1] = lines[line - 1].replace(good, bad);
        let (ran, stored) = imported(&lines).await;
        ran.fails(65, &[words[0], words[1], "nothing was stored"]);
        assert_eq!(stored, 0, "{bad}");
    }
    // Two exports concatenated.
    let (ran, stored) = imported(&[&lines[..], &lines[..]].concat()).await;
    ran.fails(65, &["line 15: lies behind the end", "nothing was stored"]);
    assert_eq!(stored, 0);
    // Bytes that are no text.
    let target = Data::new();
    let mut bytes = lines[..4].join("\n").into_bytes();
    bytes.extend(b"\n\xff\n");
    let file = target.directory().join("bytes");
    std::fs::write(&file, bytes).unwrap();
    let path = target.file();
    import(&file, &["--data", path.to_str().unwrap()]).await.fails(65, &["line 5:", "UTF-8"]);
}

#[tokio::test]
async fn a_truncated_file_is_imported_up_to_the_cut_and_reported() {
    let data = Data::new();
    let (_, lines) = exported(&data).await;
    let (ran, stored) = imported(&lines[..9]).await;
    ran.fails(65, &["cut off behind line 9", "--partial", "nothing was stored"]);
    assert_eq!(stored, 0);
    let target = Data::new();
    let path = target.file();
    let into = ["import", "-", "--data", path.to_str().unwrap()];
    let text = lines.join("\n");
    // Cut within a line, from stdin.
    let half = &text[..text.find("\"e5\"").unwrap()];
    run_with(NOWHERE, &into, half).await.fails(65, &["cut off behind line 6"]);
    assert!(!path.exists());
    let partial = run_with(NOWHERE, &[&into[..], &["--partial"]].concat(), half).await;
    assert!(partial.stderr.contains("5 events stored, 0 stored before, 3 runs"), "{partial:?}");
    partial.succeeds();
    // A later import of the whole file continues; the last line may lack its line break.
    let whole = run_with(NOWHERE, &into, &text).await;
    assert!(whole.stderr.contains("7 events stored, 5 stored before"), "{whole:?}");
    whole.succeeds();
    run_with(NOWHERE, &into, "").await.fails(65, &["line 1:", "nothing"]);
    import(&target.directory().join("none"), &into[2..]).await.fails(66, &["none"]);
}

#[tokio::test]
async fn an_event_that_differs_from_the_stored_one_ends_the_import_and_is_named() {
    let data = Data::new();
    let (_, lines) = exported(&data).await;
    for (good, bad, field) in [
        ("\"event_id\":\"e4\"", "\"event_id\":\"e4'\"", "event_id"),
        ("\"payload\":{\"n\":4}", "\"payload\":{\"n\": 4}", "payload"),
        ("\"type\":\"step\"", "\"type\":\"stop\"", "type"),
        ("\"origin\":\"USER\"", "\"origin\":\"SYSTEM\"", "origin"),
        ("\"recorded_at\":\"2", "\"recorded_at\":\"3", "recorded_at"),
        ("\"occurred_at\":\"2", "\"occurred_at\":\"1", "occurred_at"),
    ] {
        let target = Data::new();
        let path = target.file();
        let into = ["import", "-", "--data", path.to_str().unwrap(), "--partial"];
        let text = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        run_with(NOWHERE, &into, &text(&lines[..7])).await.succeeds();
        let mut changed = lines.clone();
        assert!(changed[5].contains(good), "{good}");
        changed[5] = changed[5].replace(good, bad);
        let ran = run_with(NOWHERE, &into, &text(&with_trailer(&changed))).await;
        ran.fails(73, &["line 6: run \"r1\", seq 2", &format!("{field} differs"), "0 events stored, 4 stored before"]);
    }
    // Another order: the second event of a run before the first.
    let mut swapped = lines.clone();
    swapped.swap(1, 4);
    imported(&with_trailer(&swapped)).await.0.fails(73, &["line 2: run \"r0\", seq 2", "ends at seq 0"]);
    // A gap: an event of the run is missing. The events before the gap are stored.
    let mut missing = lines.clone();
    missing[5] = missing[5].replace("\"seq\":2", "\"seq\":3");
    let (ran, stored) = imported(&with_trailer(&missing)).await;
    ran.fails(73, &["line 6: run \"r1\", seq 3", "the run ends at seq 1"]);
    assert_eq!(stored, 4);
    // The same id at another seq of its run.
    let mut repeated = lines.clone();
    repeated[7] = repeated[7].replace("\"e6\"", "\"e0\"");
    let (ran, stored) = imported(&with_trailer(&repeated)).await;
    ran.fails(73, &["line 8: run \"r0\", seq 3", "\"e0\""]);
    assert_eq!(stored, 6);
    // A clock that runs backwards in a run.
    let mut backwards = lines.clone();
    backwards[4] = backwards[4].replace("\"recorded_at\":\"2", "\"recorded_at\":\"1");
    imported(&with_trailer(&backwards)).await.0.fails(65, &["line 5: run \"r0\", seq 2", "recorded_at"]);
}

#[tokio::test]
async fn an_export_overwrites_nothing_and_goes_on_only_with_its_own() {
    let (data, other) = (Data::new(), Data::new());
    let (file, lines) = exported(&data).await;
    let text = std::fs::read(&file).unwrap();
    let path = data.file();
    let from = ["--data", path.to_str().unwrap()];
    export(&from, &file).await.fails(73, &["is there already", "--resume"]);
    let resume = [&["--resume"], &from[..]].concat();
    let whole = export(&resume, &file).await;
    assert!(whole.stderr.contains("whole"), "{whole:?}");
    whole.succeeds();
    assert_eq!(std::fs::read(&file).unwrap(), text);
    // Of another store, of other runs, and no export at all.
    exported(&other).await;
    let cut: String = lines[..5].iter().map(|line| format!("{line}\n")).collect();
    let begun = data.directory().join("begun");
    std::fs::write(&begun, &cut).unwrap();
    let other_path = other.file();
    let of_other = ["--resume", "--data", other_path.to_str().unwrap()];
    export(&of_other, &begun).await.fails(73, &["feed differs"]);
    export(&[&["--run", "r0"], &resume[..]].concat(), &begun).await.fails(73, &["runs differs"]);
    assert_eq!(std::fs::read_to_string(&begun).unwrap(), cut, "left alone");
    std::fs::write(&begun, "a list\nof things\n").unwrap();
    export(&resume, &begun).await.fails(65, &["line 1", "no header"]);
    std::fs::write(&begun, cut.replace("\"seq\":1", "\"seq\":x")).unwrap();
    export(&resume, &begun).await.fails(65, &["line 2"]);
    assert_eq!(export(&resume, &data.directory().join("no/such/directory")).await.code, Some(66));
}

#[tokio::test]
async fn a_failed_export_or_import_is_reported_and_leaves_nothing_behind() {
    let data = Data::new();
    let (file, _) = exported(&data).await;
    let path = data.file();
    let out = data.directory().join("out");
    export(&["--data", data.directory().join("none.db").to_str().unwrap()], &out).await.fails(66, &["no store"]);
    export(&["--data", path.to_str().unwrap(), "--run", "nobody"], &out).await.fails(66, &["nobody"]);
    export(&[], &out).await.fails(69, &["cannot connect"]);
    export(&["--store", "mysql://h"], &out).await.fails(78, &["postgres://"]);
    assert!(!out.exists() && !data.directory().join("none.db").exists());
    let server = Server::start(&path).await;
    let into = ["--data", path.to_str().unwrap()];
    import(&file, &into).await.fails(78, &["another runlog process serves this file"]);
    export(&into, &out).await.fails(78, &["another runlog process serves this file"]);
    // A server with small pages only.
    server.terminate().await;
    server.ended().await;
    let server = Server::with(&path, &["--max-page-size", "5"]).await;
    run(&server.url(), &["export", "-o", out.to_str().unwrap()]).await.succeeds();
    assert_eq!(body(&out), body(&file));
    // To a pipe as well as to a file.
    let printed = run(&server.url(), &["export"]).await.succeeds();
    assert_eq!(printed, std::fs::read_to_string(&file).unwrap());
}

#[tokio::test]
async fn what_comes_from_a_pipe_is_checked_before_any_of_it_is_stored_and_leaves_no_file_behind() {
    let data = Data::new();
    let (_, lines) = exported(&data).await;
    let mut changed = lines.clone();
    changed[5] = changed[5].replace("\"n\":4", "\"n\":5");
    let (target, kept) = (Data::new(), Data::new());
    let path = target.file();
    let import = |tmp: &str, file: &str, lines: &[String]| {
        let mut command = crate::harness::program();
        command.args(["import", file, "--data"]).arg(&path).env("TMPDIR", tmp);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, text) = (child.stdin.take().unwrap(), lines.join("\n"));
        async move {
            // A command that stopped reading reports the reason by its exit code.
            let _ = stdin.write_all(text.as_bytes()).await;
            drop(stdin);
            crate::command::end("import", child).await
        }
    };
    let tmp = kept.directory().to_str().unwrap();
    for stdin in ["-", "/dev/stdin"] {
        import(tmp, stdin, &changed).await.fails(65, &["line 14: sha256", "nothing was stored"]);
        assert!(!path.exists());
    }
    import(&format!("{tmp}/none"), "-", &lines).await.fails(1, &["cannot keep the input in", "TMPDIR"]);
    assert!(!path.exists());
    let ran = import(tmp, "-", &lines).await;
    assert!(ran.stderr.contains("12 events stored"), "{ran:?}");
    ran.succeeds();
    assert_eq!(kept.directory().read_dir().unwrap().count(), 0);
}
