//! Envoy with the configuration in `deploy/`, in front of the replicas of a test. Only the addresses are changed.
//!
//! `RUNLOG_TEST_ENVOY` names the program. Without the program the tests print SKIPPED, and fail under `CI=true`.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{GUARD, Process};

/// A running balancer, killed when dropped.
pub struct Envoy {
    process: Process,
    directory: TempDir,
    /// The address for clients.
    pub address: SocketAddr,
    admin: String,
}

/// The text of `deploy/envoy.yaml`.
pub fn deployed() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/envoy.yaml")).unwrap()
}

impl Envoy {
    /// Starts the deployed configuration; `None` without Envoy, after SKIPPED was printed.
    pub async fn start(replicas: &[SocketAddr]) -> Option<Self> {
        Self::start_with(&deployed(), replicas).await
    }

    /// Starts this configuration, with free loopback ports and these replicas.
    pub async fn start_with(config: &str, replicas: &[SocketAddr]) -> Option<Self> {
        let Some(program) = std::env::var_os("RUNLOG_TEST_ENVOY") else {
            // Directly to stderr, since the test harness captures the output of a passing test.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "SKIPPED: Envoy: RUNLOG_TEST_ENVOY is not set; tests/all.sh sets it").unwrap();
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI runs the tests behind Envoy");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("runlog-envoy-").tempdir().unwrap();
        let config = with_addresses(config, replicas);
        fs::write(directory.path().join("envoy.json"), config.to_string()).unwrap();
        let process = spawn(Path::new(&program), directory.path());
        let mut envoy =
            Self { process, directory, address: SocketAddr::from(([127, 0, 0, 1], 0)), admin: String::new() };
        envoy.admin = envoy.eventually("the admin address", async |it| it.admin_address()).await;
        envoy.address = envoy.eventually("a listener", Self::listener).await;
        envoy.sees(replicas.len()).await;
        Some(envoy)
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until this number of replicas is healthy.
    pub async fn sees(&self, healthy: usize) {
        let line = format!("cluster.runlog.membership_healthy: {healthy}\n");
        self.eventually("the health of the replicas", async |it| {
            it.ask("stats?filter=membership_healthy").await?.contains(&line).then_some(())
        })
        .await;
    }

    fn admin_address(&self) -> Option<String> {
        fs::read_to_string(self.directory.path().join("admin")).ok().filter(|address| !address.is_empty())
    }

    async fn listener(&self) -> Option<SocketAddr> {
        let listeners: Value = serde_json::from_str(&self.ask("listeners?format=json").await?).unwrap();
        let port = listeners.pointer("/listener_statuses/0/local_address/socket_address/port_value")?.as_u64()?;
        Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap())))
    }

    async fn ask(&self, path: &str) -> Option<String> {
        reqwest::get(format!("http://{}/{path}", self.admin)).await.ok()?.text().await.ok()
    }

    async fn eventually<T>(&self, what: &str, mut look: impl AsyncFnMut(&Self) -> Option<T>) -> T {
        let looking = async {
            loop {
                match look(self).await {
                    Some(found) => return found,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let found = tokio::time::timeout(GUARD, looking).await;
        found.unwrap_or_else(|_| panic!("Envoy does not report {what}: {}", self.process.log()))
    }
}

/// Replaces the addresses to listen on and the addresses of the replicas.
fn with_addresses(config: &str, replicas: &[SocketAddr]) -> Value {
    let mut config: Value = serde_saphyr::from_str(config).unwrap();
    let socket =
        |address: &SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let free = socket(&SocketAddr::from(([127, 0, 0, 1], 0)));
    let endpoints = replicas.iter().map(|replica| json!({"endpoint": {"address": socket(replica)}})).collect();
    let mut put = |pointer: &str, value: Value| *config.pointer_mut(pointer).unwrap() = value;
    put("/admin/address", free.clone());
    put("/static_resources/listeners/0/address", free);
    put("/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints", Value::Array(endpoints));
    config
}

/// Runs as an unprivileged user also if the tests run as root. The unprivileged user may have no access to the
/// program's directory.
fn spawn(program: &Path, directory: &Path) -> Process {
    let mut own: PathBuf = program.to_owned();
    let user = crate::cluster::unprivileged();
    if user.is_some() {
        own = directory.join("envoy");
        fs::hard_link(program, &own).or_else(|_| fs::copy(program, &own).map(drop)).unwrap();
    }
    let mut command = Command::new(own);
    command
        .args(["--config-path", "envoy.json", "--admin-address-path", "admin", "--log-level", "warn"])
        .args(["--disable-hot-restart", "--concurrency", "2"])
        .current_dir(directory);
    if let Some((uid, gid)) = user {
        chown(directory, Some(uid), Some(gid)).unwrap();
        command.uid(uid).gid(gid);
    }
    Process::of(command)
}
