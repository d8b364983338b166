//! `deploy/Dockerfile`, parsed like Docker does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::Process;
use crate::process::{ASKS_FOR_KEYS, Environment, Served, command, secrets, statuses};
use crate::read;

/// The instructions: keyword and arguments, with continued lines joined.
pub struct Dockerfile(Vec<(String, String)>);

impl Dockerfile {
    pub fn load() -> Self {
        let text = read("deploy/Dockerfile");
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        let joined = lines.join("\n").replace("\\\n", " ");
        let instructions = joined.lines().filter_map(|line| line.trim().split_once(' '));
        Self(instructions.map(|(keyword, rest)| (keyword.to_owned(), rest.trim().to_owned())).collect())
    }

    fn all(&self, keyword: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(of, _)| of == keyword).map(|(_, rest)| rest.as_str())
    }

    fn last(&self, keyword: &str) -> &str {
        self.all(keyword).last().unwrap_or_else(|| panic!("no {keyword}"))
    }

    /// The words of an instruction in exec form.
    fn words(text: &str) -> Vec<String> {
        serde_json::from_str(text).unwrap()
    }

    /// The command of a container with these arguments, or with the default arguments.
    pub fn command(&self, words: Option<Vec<String>>) -> Vec<String> {
        let mut command = Self::words(self.last("ENTRYPOINT"));
        command.extend(words.unwrap_or_else(|| Self::words(self.last("CMD"))));
        command
    }

    pub fn health(&self) -> Vec<String> {
        Self::words(self.last("HEALTHCHECK").split_once("CMD ").unwrap().1)
    }

    pub fn environment(&self) -> Environment {
        let pairs = self.all("ENV").flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub fn user(&self) -> &str {
        self.last("USER")
    }

    /// The paths that each `COPY` takes from the repository.
    fn copied(&self) -> Vec<Vec<&str>> {
        let copies = self.all("COPY").filter(|rest| !rest.starts_with("--from"));
        copies.map(|rest| rest.split_whitespace().collect()).collect()
    }
}

#[tokio::test]
async fn the_container_refuses_cleartext_without_the_option_and_serves_for_keys_and_drains_with_it() {
    let file = Dockerfile::load();
    let mut environment = file.environment();
    let listens = environment["RUNLOG_LISTEN"].replace(":7800", ":0");
    let closed = Environment::from([("RUNLOG_LISTEN".to_owned(), listens)]);
    let (status, log) = Process::of(command(&file.command(None), &closed, &TempDir::new().unwrap())).ended().await;
    assert_eq!(status.code(), Some(78));
    assert!(log.contains("--tls-cert") && log.contains("--insecure-no-tls"), "{log}");
    let secrets = secrets();
    environment.insert("RUNLOG_INSECURE_NO_TLS".to_owned(), "true".to_owned());
    let key = secrets.path().join("admin.key").display().to_string();
    environment.insert("RUNLOG_ADMIN_KEY_FILE".to_owned(), key);
    let server = Served::start(&file.command(None), &environment).await;
    assert!(server.address.ip().is_unspecified(), "the port can be published");
    server.is_healthy_by(&file.health()).await;
    assert_eq!(statuses(&server.url(), &[]).await, ASKS_FOR_KEYS);
    server.stop(file.last("STOPSIGNAL")).await;
}

#[test]
fn the_container_is_no_root_and_keeps_its_data_in_the_volume() {
    let file = Dockerfile::load();
    let (user, group) = file.user().split_once(':').unwrap();
    assert!([user, group].iter().all(|id| id.parse::<u32>().unwrap() > 0), "by number, as Kubernetes checks it");
    let data = &file.environment()["RUNLOG_DATA"];
    assert!(Path::new(data).starts_with(file.last("VOLUME")), "{data}");
}

#[test]
fn the_image_is_built_by_the_rust_that_the_manifest_names() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let file = Dockerfile::load();
    assert!(file.all("FROM").next().unwrap().starts_with(&format!("rust:{version}-")));
}

#[test]
fn the_build_context_is_what_the_dockerfile_copies_and_nothing_else() {
    let ignored = read(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let allowed: BTreeSet<_> = lines.map(|line| line.strip_prefix('!').unwrap().to_owned()).collect();
    let file = Dockerfile::load();
    let copied = file.copied().into_iter().flat_map(|mut words| {
        words.pop();
        words
    });
    assert_eq!(allowed, copied.map(str::to_owned).collect());
}

/// The steps of the build stage in order, on a copy of the files that the stage copies. The steps run `cargo check`
/// instead of a build: the test proves that sources and steps are complete.
#[test]
fn the_steps_of_the_build_run_on_what_was_copied() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docker");
    let _ = std::fs::remove_dir_all(&context);
    std::fs::create_dir_all(&context).unwrap();
    let file = Dockerfile::load();
    let sh = |script: &str| {
        let mut shell = Command::new("sh");
        // Reuses the target directory, so that dependencies are not checked again.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        shell.args(["-euc", script]).current_dir(&context).env("CARGO_TARGET_DIR", target);
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    };
    let stage = file.0.iter().take_while(|(keyword, rest)| keyword != "FROM" || rest.ends_with("AS build"));
    let mut built = 0;
    for (keyword, rest) in stage {
        match keyword.as_str() {
            "COPY" => {
                let mut words: Vec<&str> = rest.split_whitespace().collect();
                let to = words.pop().unwrap();
                for from in words {
                    sh(&format!("cp -r '{}' '{to}'", root.join(from).display()));
                }
            }
            "RUN" => {
                built += rest.matches("cargo build --release --locked").count();
                let script = rest.replace("cargo build --release --locked", "cargo check --locked --quiet");
                sh(&script.replace("mkdir /data", "true"));
            }
            _ => {}
        }
    }
    assert_eq!(built, 2, "once for the dependencies, once for the program");
}
