//! "More than one machine" of `deploy/README.md`: its commands unchanged, with a database and a balancer.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cluster::Cluster;
use crate::readme::{parts, path_with, root, shell_blocks};

/// Ends the processes that the commands leave running, also after a failure.
const CLEAN_UP: &str = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n";

/// The ports in the section: the balancer's and those of three replicas.
const PORTS: [&str; 4] = ["7800", "7801", "7802", "7803"];

/// A free port whose number does not occur in the text, since the text's ports are replaced.
fn free_port(text: &str) -> String {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        if !text.contains(&port) {
            return port;
        }
    }
}

#[test]
fn three_replicas_behind_the_balancer_do_what_the_readme_says() {
    let Some(envoy) = std::env::var_os("RUNLOG_TEST_ENVOY").map(PathBuf::from) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "RUNLOG_TEST_ENVOY is not set; run tests/all.sh");
        eprintln!("SKIPPED: more than one machine: RUNLOG_TEST_ENVOY is not set; tests/all.sh sets it");
        return;
    };
    let Some(cluster) = Cluster::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let (_, section) = parts();
    let mut script = shell_blocks(&section).concat();
    // The balancer's admin port may be taken.
    let mut config = fs::read_to_string(root().join("deploy/envoy.yaml")).unwrap().replace("9901", "0");
    for port in PORTS {
        assert!(script.contains(port), "{port}");
        let free = free_port(&format!("{script}{config}"));
        (script, config) = (script.replace(port, &free), config.replace(port, &free));
    }
    fs::create_dir(directory.path().join("deploy")).unwrap();
    fs::write(directory.path().join("deploy/envoy.yaml"), config).unwrap();
    let database = "postgres://user:password@host/database";
    assert!(script.contains(database));
    let balancer = shell_url(&script);
    let script = script.replace(database, &cluster.url("postgres")).replace("target/release/runlog", "runlog");
    let log = fs::File::create(directory.path().join("log")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_runlog")).parent().unwrap().to_owned();
    let status = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &format!("{CLEAN_UP}{script}")])
        .current_dir(directory.path())
        .env("PATH", path_with(&[program, envoy.parent().unwrap().to_owned()]))
        .env("RUNLOG_SERVER", balancer)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    let said = fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(status.success(), "{script}\n{said}");
    assert!(said.contains("-- the run has ended: SUCCEEDED, 2 events"), "{said}");
    assert!(said.contains("id: 1\n") && said.contains("id: 2\n"), "{said}");
}

/// The URL that the script's client uses: the balancer's.
fn shell_url(script: &str) -> String {
    let (_, rest) = script.split_once("http://").unwrap();
    format!("http://{}", rest.split('/').next().unwrap())
}
