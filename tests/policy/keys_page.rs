//! `deploy/KEYS.md`: its commands unchanged, in one shell and an empty folder.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::readme::{path_with, root, shell_blocks};

/// Ends the server that the commands leave running, also after a failure.
const CLEAN_UP: &str = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n";

#[test]
fn a_server_gets_a_certificate_a_first_key_and_a_rotated_one_by_the_commands_of_the_page() {
    let page = fs::read_to_string(root().join("deploy/KEYS.md")).unwrap();
    let script = shell_blocks(&page).concat();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    assert!(script.contains("0.0.0.0:7800") && script.contains("localhost:7800"));
    let script = script.replace("7800", &port).replace("target/release/runlog", "runlog");
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_runlog")).parent().unwrap().to_owned();
    let log = fs::File::create(directory.path().join("log")).unwrap();
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("{CLEAN_UP}{script}")])
        .current_dir(directory.path())
        .env("PATH", path_with(&[program]))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    let said = fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(status.success(), "{script}\n{said}");
    assert!(said.contains("run_start") && said.contains("revoked") && said.contains("until 20"), "{said}");
    for secret in ["admin.key", "worker.key", "dashboard.key"] {
        let key = fs::read_to_string(directory.path().join(secret)).unwrap();
        let (_, secret) = key.trim().split_once(':').unwrap();
        assert!(secret.len() == 64 && !said.contains(secret), "no secret is in the log or the output");
    }
}
