//! The programs that a user may copy, in each language, against one server with TLS and a key: they publish over a kill, and
//! follow over a drain and a kill.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::certificates::{Authority, put};
use crate::process::{Data, Process, Ran, Server, program};
use crate::{path, skip};

/// Number of events that each program publishes.
const PUBLISHED: usize = 100;

/// A server with TLS and a key, which keeps its address over restarts.
struct Secured {
    data: Data,
    key: String,
    address: SocketAddr,
    server: Option<Server>,
}

impl Secured {
    async fn start() -> Self {
        let (data, authority) = (Data::new(), Authority::new("runlog test"));
        let pair = authority.pair();
        for (name, text) in [("ca.pem", authority.pem()), ("cert.pem", &pair.cert), ("key.pem", &pair.key)] {
            put(data.directory(), name, text);
        }
        // Once its store holds a key, a server asks for one.
        let mut create = program();
        create.args(["keys", "create", "--json", "--name", "worker"]);
        create.args(["--scope", "events.publish,events.read", "--data"]).arg(data.file());
        let created = Ran::of(create).await.json();
        let key = created.last().unwrap()["key"].as_str().unwrap().to_owned();
        let server = serve(&data, "127.0.0.1:0").await;
        Self { key, address: server.address, server: Some(server), data }
    }

    /// Ends the server by this signal and starts it again.
    async fn restart(&mut self, signal: &str) {
        let server = self.server.take().unwrap();
        server.signal(signal).await;
        server.ended().await;
        self.server = Some(serve(&self.data, &self.address.to_string()).await);
    }

    /// Gives a program what it needs to connect.
    fn credentials(&self, mut command: Command) -> Command {
        command.env("RUNLOG_CA", self.data.directory().join("ca.pem")).env("RUNLOG_KEY", &self.key);
        command
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let mut command = self.credentials(program());
        command.args(args).env("RUNLOG_SERVER", format!("https://{}", self.address));
        Ran::of(command).await
    }

    async fn publish(&self, run_id: &str, event_id: &str, event_type: &str) {
        let event = ["--run", run_id, "--event-id", event_id, "--type", event_type, "--payload", "{}"];
        self.run(&[&["publish"], &event[..]].concat()).await.succeeds();
    }

    /// Seq and id of each stored event of a run.
    async fn log(&self, run_id: &str) -> Vec<String> {
        let events = self.run(&["list", "--run", run_id, "--limit", "1000", "--json"]).await.json();
        let line = |event: Value| Some(format!("{} {}", event["seq"], event["event_id"].as_str()?));
        events.into_iter().filter_map(line).collect()
    }
}

async fn serve(data: &Data, listen: &str) -> Server {
    let file = |name| data.directory().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let options = ["--tls-cert", &cert, "--tls-key", &key, "--drain-timeout-ms", "1000"];
    Server::at(listen, &data.file(), &options).await
}

/// The languages, each built once.
static BUILDS: [(&str, OnceCell<PathBuf>); 6] = [
    ("python", OnceCell::const_new()),
    ("typescript", OnceCell::const_new()),
    ("go", OnceCell::const_new()),
    ("java", OnceCell::const_new()),
    ("cpp", OnceCell::const_new()),
    ("ruby", OnceCell::const_new()),
];

/// Builds the programs of a language; returns the directory with a command for each. `None` without its tools, which fails on
/// CI.
async fn build(language: &str) -> Option<&'static Path> {
    if !is_installed(language) {
        skip(language, "its compiler, packages or buf are missing");
        return None;
    }
    let (_, built) = BUILDS.iter().find(|(of, _)| *of == language).unwrap();
    let build = async || {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages").join(language);
        let mut build = Command::new("bash");
        build.arg(path("build.sh")).arg(language).arg(&out).env("PATH", path_with_tools());
        Ran::of(build).await.succeeds();
        out
    };
    Some(built.get_or_init(build).await)
}

/// The search path, with the tools that `tests/all.sh` installs.
fn path_with_tools() -> std::ffi::OsString {
    let tools = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/node_modules/.bin"));
    let before = std::env::var_os("PATH").unwrap();
    std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&before))).unwrap()
}

/// The lines of a program that begin with this word, without it.
fn lines(program: &Process, word: &str) -> Vec<String> {
    program.output().lines().filter_map(|line| Some(line.strip_prefix(word)?.trim().to_owned())).collect()
}

/// Runs the programs of a language at once, over three restarts, and compares what they print with the log.
async fn follow_over_restarts(language: &str, names: &[&str]) {
    let Some(out) = build(language).await else { return };
    let mut server = Secured::start().await;
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/service_config.json");
    let start = |name: &str| {
        let mut command = server.credentials(Command::new(out.join(name)));
        command.arg(server.address.to_string()).args([name, config]);
        Process::with_output(command)
    };
    let programs: Vec<(&str, Process)> = names.iter().map(|name| (*name, start(name))).collect();
    let all_print = async |line: &str| {
        for (name, program) in &programs {
            program.prints(&format!("{line:?} by {name}"), |printed| printed == line).await;
        }
    };
    all_print("published 3").await;
    server.restart("KILL").await;
    all_print("followed 100 step-99").await;
    for (signal, event_id) in [("TERM", "after-drain"), ("KILL", "after-kill")] {
        server.restart(signal).await;
        for name in names {
            server.publish(name, event_id, "step").await;
        }
        let seq = if signal == "TERM" { PUBLISHED + 1 } else { PUBLISHED + 2 };
        all_print(&format!("followed {seq} {event_id}")).await;
    }
    for name in names {
        server.publish(name, "end", "run_end").await;
    }
    all_print("ended").await;
    for (name, program) in programs {
        let log = server.log(name).await;
        assert_eq!(log.len(), PUBLISHED + 3, "{name}");
        assert_eq!(lines(&program, "followed"), log, "{name} follows each event once and in order");
        assert_eq!(lines(&program, "listed"), log[..PUBLISHED], "{name} lists all pages");
        let seqs: Vec<String> = (1..=PUBLISHED).map(|seq| seq.to_string()).collect();
        assert_eq!(lines(&program, "published"), seqs, "{name} publishes each event once over a kill");
        assert_eq!(lines(&program, "refused"), ["EVENT_ID_CONFLICT"], "{name}");
        assert_eq!(lines(&program, "health"), ["SERVING"], "{name}");
        let (status, errors) = program.ended().await;
        assert!(status.success(), "{name}: {errors}");
    }
}

/// Whether `tests/all.sh` has installed what the programs of a language need.
fn is_installed(language: &str) -> bool {
    match language {
        "python" => std::env::var_os("RUNLOG_TEST_PYTHON").is_some(),
        "typescript" => std::env::var_os("RUNLOG_TEST_NODE").is_some(),
        _ => std::env::var("RUNLOG_TEST_LANGUAGES").is_ok_and(|all| all.split(' ').any(|one| one == language)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_and_asyncio_publish_list_and_follow_over_restarts() {
    follow_over_restarts("python", &["follow", "follow_asyncio"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_js_and_connect_node_publish_list_and_follow_over_restarts() {
    follow_over_restarts("typescript", &["grpc_js", "connect_node"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn go_publishes_lists_and_follows_over_restarts() {
    follow_over_restarts("go", &["follow"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_publishes_lists_and_follows_over_restarts() {
    follow_over_restarts("java", &["follow"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cpp_publishes_lists_and_follows_over_restarts() {
    follow_over_restarts("cpp", &["follow"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ruby_publishes_lists_and_follows_over_restarts() {
    follow_over_restarts("ruby", &["follow"]).await;
}

/// Runs the program of the README in this language against a server without keys.
async fn readme_follows_its_run(language: &str) {
    let Some(out) = build(language).await else { return };
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut command = Command::new(out.join("readme"));
    command.arg(server.address.to_string());
    let program = Process::with_output(command);
    for line in ["1 run_start", "2 run_end"] {
        program.prints(&format!("{line:?}"), |printed| printed == line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_program_of_the_readme_follows_its_run() {
    readme_follows_its_run("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_program_of_the_readme_follows_its_run() {
    readme_follows_its_run("typescript").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_program_of_the_readme_follows_its_run() {
    readme_follows_its_run("go").await;
}
