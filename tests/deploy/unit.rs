//! `deploy/runlog.service` and its options. `tests/all.sh` checks the unit with `systemd-analyze`.

use std::collections::BTreeMap;

use tempfile::TempDir;

use crate::process::{ASKS_FOR_KEYS, Environment, Served, secrets, statuses};
use crate::read;

/// The settings of the unit by name; repeated settings in their order.
fn settings() -> BTreeMap<String, Vec<String>> {
    settings_of(&read("deploy/runlog.service"))
}

fn settings_of(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')) {
        settings.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    settings
}

/// The environment as systemd builds it: the variables of the unit, overridden by the file.
fn environment(unit: &BTreeMap<String, Vec<String>>, file: &str) -> Environment {
    let own = unit["Environment"].iter().map(String::as_str);
    let lines = own.chain(file.lines().filter(|line| !line.starts_with(['#', ';']) && !line.is_empty()));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Starts the unit with these variables and its credentials: `%d` is the directory where systemd puts each by its name.
async fn start(unit: &BTreeMap<String, Vec<String>>, mut environment: Environment) -> (Served, TempDir) {
    let secrets = secrets();
    for value in environment.values_mut() {
        if let Some(name) = value.strip_prefix("%d/") {
            assert!(unit["LoadCredential"].contains(&format!("{name}:/etc/runlog/{name}")), "{name}");
            *value = secrets.path().join(name).display().to_string();
        }
    }
    let words: Vec<String> = unit["ExecStart"][0].split_whitespace().map(str::to_owned).collect();
    (Served::start(&words, &environment).await, secrets)
}

fn health() -> [String; 2] {
    ["runlog".to_owned(), "health".to_owned()]
}

#[tokio::test]
async fn the_service_starts_with_the_example_asks_for_keys_and_ends_by_its_signal() {
    let unit = settings();
    let (server, _secrets) = start(&unit, environment(&unit, &read("deploy/runlog.env"))).await;
    assert!(server.address.ip().is_loopback());
    server.is_healthy_by(&health()).await;
    assert_eq!(statuses(&server.url(), &[]).await, ASKS_FOR_KEYS);
    server.stop(unit.get("KillSignal").map_or("SIGTERM", |signals| &signals[0])).await;
}

#[tokio::test]
async fn with_its_commented_lines_it_serves_other_machines_over_tls() {
    let text = read("deploy/runlog.service").replace("#LoadCredential=", "LoadCredential=");
    let unit = settings_of(&text.replace("#Environment=", "Environment="));
    let (server, secrets) = start(&unit, environment(&unit, "")).await;
    assert!(server.address.ip().is_unspecified());
    let ca = secrets.path().join("ca.crt");
    server.is_healthy_over_tls(&ca, &health()).await;
    assert_eq!(statuses(&server.tls_url(), &["--cacert", ca.to_str().unwrap()]).await, ASKS_FOR_KEYS);
    server.stop("SIGTERM").await;
}

/// systemd restarts a service that sends no watchdog notifications.
#[tokio::test]
async fn systemd_is_notified_of_the_start_then_periodically_and_of_the_end() {
    let unit = settings();
    assert_eq!((&*unit["Type"][0], &*unit["WatchdogSec"][0]), ("notify", "30s"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let mut environment = environment(&unit, "");
    environment.insert("NOTIFY_SOCKET".to_owned(), path.to_str().unwrap().to_owned());
    let (server, _secrets) = start(&unit, environment).await;
    let receives = async |expected: &str| {
        let received = async {
            let mut message = [0; 256];
            loop {
                let length = socket.recv(&mut message).await.unwrap();
                if std::str::from_utf8(&message[..length]).unwrap().lines().any(|line| line == expected) {
                    return;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), received).await.expect(expected);
    };
    for expected in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        receives(expected).await;
    }
    server.stop("SIGTERM").await;
    receives("STOPPING=1").await;
}

#[test]
fn the_data_lie_in_the_one_directory_that_may_be_written() {
    let unit = settings();
    let state = &unit["StateDirectory"][0];
    assert_eq!(environment(&unit, "")["RUNLOG_DATA"], format!("%S/{state}/runlog.db"));
    assert_eq!(unit["ProtectSystem"], ["strict"]);
    assert!(!unit.contains_key("ReadWritePaths"));
}

#[test]
fn a_stop_leaves_time_for_the_drain_and_files_are_as_many_as_connections() {
    let unit = settings();
    let defaults = runlog::config::ServeOptions::default();
    let seconds: u64 = unit["TimeoutStopSec"][0].strip_suffix('s').unwrap().parse().unwrap();
    assert!(seconds * 1_000 > u64::try_from(defaults.connections.drain_timeout.as_millis()).unwrap());
    assert!(unit["LimitNOFILE"][0].parse::<usize>().unwrap() > 2 * defaults.connections.max_connections);
}
