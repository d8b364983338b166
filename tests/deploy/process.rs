//! A command from a file in `deploy/`, run as a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tempfile::TempDir;
use tokio::process::Command;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{self, Process, Ran, within};

/// Variables of a process, by name.
pub type Environment = BTreeMap<String, String>;

/// The command with only these environment variables, in its own directory. The program under test replaces the path in
/// the file, which must be named `runlog`.
pub fn command(words: &[String], environment: &Environment, directory: &TempDir) -> Command {
    let (program, args) = words.split_first().expect("a command");
    assert_eq!(program.rsplit('/').next(), Some("runlog"), "{words:?}");
    let mut command = harness::program();
    command.args(args).env_clear().envs(environment).current_dir(directory.path());
    command
}

/// A running server.
pub struct Served {
    process: Process,
    pub address: SocketAddr,
    _directory: TempDir,
}

impl Served {
    /// Runs the command until the server listens. The host of the address stays, the port is a free one; the database
    /// lies in the server's own directory.
    pub async fn start(words: &[String], environment: &Environment) -> Self {
        let directory = TempDir::new().unwrap();
        let mut environment = environment.clone();
        if let Some(listen) = environment.get_mut("RUNLOG_LISTEN") {
            *listen = listen.replace(":7800", ":0");
        }
        environment.entry("RUNLOG_LISTEN".to_owned()).or_insert_with(|| "127.0.0.1:0".to_owned());
        if let Some(data) = environment.get_mut("RUNLOG_DATA") {
            *data = data.rsplit('/').next().unwrap().to_owned();
        }
        let process = Process::of(command(words, &environment, &directory));
        Self { address: process.address().await, process, _directory: directory }
    }

    /// A loopback URL, also for a server that listens on all addresses.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.address.port())
    }

    /// The status in the standard gRPC health service.
    pub async fn health(&self, service: &str) -> ServingStatus {
        let channel = Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap();
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel).check(request).await.unwrap().into_inner();
        answer.status()
    }

    /// Runs a health command from a file against the server.
    pub async fn is_healthy_by(&self, words: &[String]) {
        let environment = Environment::from([("RUNLOG_SERVER".to_owned(), self.url())]);
        let directory = TempDir::new().unwrap();
        let ran = within("its answer", Ran::of(command(words, &environment, &directory))).await;
        assert_eq!(ran.succeeds(), "SERVING\n", "{words:?}");
    }

    /// Sends the signal for a drain and waits for a successful exit.
    pub async fn stop(self, signal: &str) {
        self.process.signal(signal.strip_prefix("SIG").unwrap()).await;
        let (status, log) = self.process.ended().await;
        assert!(status.success(), "{status}: {log}");
    }
}
