//! A command from a file in `deploy/`, run as a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use crate::certificates::{Authority, put};
use crate::harness::{self, Process, Ran, within};

/// A first key, as an operator makes it.
pub const ADMIN: &str = "key_admin:0123456789abcdefghijklmnop";

/// Variables of a process, by name.
pub type Environment = BTreeMap<String, String>;

/// A directory with the secrets of a server: the first key, and a certificate with its key and its authority.
pub fn secrets() -> TempDir {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("authority of the deployment");
    let pair = authority.pair();
    let files = [("admin.key", ADMIN), ("tls.crt", &pair.cert), ("tls.key", &pair.key), ("ca.crt", authority.pem())];
    for (name, text) in files {
        put(directory.path(), name, text);
    }
    directory
}

/// What curl gets, and the status on a line of its own.
pub async fn curl(args: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-w", "\n%{http_code}"]).args(args);
    within("the answer to curl", Ran::of(curl)).await.succeeds()
}

/// The statuses of a request for runs at this server: without a key, and with the first one, which may make keys alone.
pub async fn statuses(server: &str, more: &[&str]) -> [String; 2] {
    let url = format!("{server}/v1/runs");
    let key = format!("authorization: Bearer {ADMIN}");
    let status = |answer: String| answer.rsplit('\n').next().unwrap_or_default().to_owned();
    let without = curl(&[more, &[&url]].concat()).await;
    [status(without), status(curl(&[more, &["-H", &key, &url]].concat()).await)]
}

/// The statuses of a server that asks for keys.
pub const ASKS_FOR_KEYS: [&str; 2] = ["401", "403"];

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

    /// The URL of a server with TLS, by the name in its certificate.
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Runs a health command from a file against the server.
    pub async fn is_healthy_by(&self, words: &[String]) {
        self.is_healthy_in(Environment::from([("RUNLOG_SERVER".to_owned(), self.url())]), words).await;
    }

    /// Likewise, against a server with TLS and this authority.
    pub async fn is_healthy_over_tls(&self, ca: &Path, words: &[String]) {
        let ca = ca.to_str().unwrap().to_owned();
        let variables = [("RUNLOG_SERVER".to_owned(), self.tls_url()), ("RUNLOG_CA".to_owned(), ca)];
        self.is_healthy_in(variables.into(), words).await;
    }

    async fn is_healthy_in(&self, environment: Environment, words: &[String]) {
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
