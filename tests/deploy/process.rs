//! A command out of a file, run as a process of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Only the guard against a wait that never ends.
const GUARD: Duration = Duration::from_secs(60);

/// Variables of a process, by name.
pub type Environment = BTreeMap<String, String>;

/// The command in an empty environment but for these variables, in a directory of its own. The program is the one under
/// test, wherever the file has it; it must be called runlog there.
pub fn command(words: &[String], environment: &Environment, directory: &TempDir) -> Command {
    let (program, args) = words.split_first().expect("a command");
    assert_eq!(program.rsplit('/').next(), Some("runlog"), "{words:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_runlog"));
    command.args(args).env_clear().envs(environment).current_dir(directory.path()).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A server that serves.
pub struct Served {
    process: Child,
    pub address: SocketAddr,
    _directory: TempDir,
}

impl Served {
    /// Runs the command until it serves. The host of its address stays, the port becomes a free one; what it stores lies
    /// in its own directory.
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
        let mut process = command(words, &environment, &directory).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let line = timeout(GUARD, lines.next_line()).await.expect("it starts").unwrap();
            let line = line.unwrap_or_else(|| panic!("{words:?} does not start: {said:#?}"));
            // In either format of the log.
            let address = line.split(['"', '=', ' ']).find_map(|word| word.parse::<SocketAddr>().ok());
            said.push(line);
            if let Some(address) = address {
                break address;
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { process, address, _directory: directory }
    }

    /// On loopback, whatever address it listens on.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.address.port())
    }

    /// What the standard health service says.
    pub async fn health(&self, service: &str) -> ServingStatus {
        let channel = Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap();
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = HealthClient::new(channel).check(request).await.unwrap().into_inner();
        answer.status()
    }

    /// Runs a health command of a file against it.
    pub async fn is_healthy_by(&self, words: &[String]) {
        let environment = Environment::from([("RUNLOG_SERVER".to_owned(), self.url())]);
        let directory = TempDir::new().unwrap();
        let output =
            timeout(GUARD, command(words, &environment, &directory).output()).await.expect("it answers").unwrap();
        assert!(output.status.success() && output.stdout == b"SERVING\n", "{words:?}: {output:?}");
    }

    /// Ends by the signal that asks for a drain.
    pub async fn stop(mut self, signal: &str) {
        let pid = self.process.id().unwrap().to_string();
        let signal = signal.strip_prefix("SIG").unwrap();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().await.unwrap().success());
        let status = timeout(GUARD, self.process.wait()).await.expect("it ends").unwrap();
        assert!(status.success(), "{status}");
    }
}
