//! A server that cannot start names the reason and the file or option, and exits with the documented code.

use std::path::Path;

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::harness::{Data, Process, Server};

/// The exit codes of `runlog --help`.
const WRONG_OPTIONS: i32 = 64;
pub const CANNOT_START: i32 = 78;

async fn is_refused(process: Process, code: i32, words: &[&str]) {
    let (status, log) = process.ended().await;
    assert_eq!(status.code(), Some(code), "{log}");
    let message = log.lines().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(message.contains(word), "{word:?} in {message:?}");
    }
    assert!(message.contains("error:") && !message.contains("panicked"), "{message}");
}

pub async fn cannot_serve(data: &Path, options: &[&str], words: &[&str]) {
    is_refused(Process::serve(data, options), CANNOT_START, words).await;
}

async fn sqlite(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn a_second_server_on_the_same_file_is_refused_and_the_first_goes_on() {
    let data = Data::new();
    let first = Server::start(&data.file()).await;
    cannot_serve(&data.file(), &[], &[data.file().to_str().unwrap(), "another runlog process", "--data"]).await;
    let mut events = first.events().await;
    assert_eq!(crate::client::publish_one(&mut events, "r", "step", "{}").await, 1);
    // The file is free after its owner is gone, also after a kill.
    first.kill().await;
    Server::start(&data.file()).await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let data = Data::new();
    let text = "just a text, and longer than the header of a database file would be, or so\n".repeat(20);
    std::fs::write(data.file(), &text).unwrap();
    cannot_serve(&data.file(), &[], &[data.file().to_str().unwrap(), "no runlog database"]).await;
    assert_eq!(std::fs::read_to_string(data.file()).unwrap(), text);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let data = Data::new();
    let mut other = sqlite(&data.file()).await;
    sqlx::raw_sql("CREATE TABLE theirs (x)").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    cannot_serve(&data.file(), &[], &[data.file().to_str().unwrap(), "another program"]).await;
    let mut other = sqlite(&data.file()).await;
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema").fetch_all(&mut other).await.unwrap();
    assert_eq!(tables, ["theirs"]);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_by_its_number() {
    let data = Data::new();
    Server::start(&data.file()).await.kill().await;
    let mut file = sqlite(&data.file()).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::raw_sql(newer).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    cannot_serve(&data.file(), &[], &[data.file().to_str().unwrap(), "9999", "newer"]).await;
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let data = Data::new();
    let file = data.directory().join("not").join("there.db");
    cannot_serve(&file, &[], &[file.to_str().unwrap()]).await;
    assert!(!data.directory().join("not").exists());
}

#[tokio::test]
async fn a_directory_in_the_place_of_the_file_is_named() {
    let data = Data::new();
    cannot_serve(data.directory(), &[], &[data.directory().to_str().unwrap()]).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_option() {
    let data = Data::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = data.file();
    let args = ["serve", "--listen", &address, "--data", file.to_str().unwrap()];
    is_refused(Process::spawn(&args), CANNOT_START, &[&address, "--listen"]).await;
}

#[tokio::test]
async fn an_address_that_others_reach_needs_the_word_insecure() {
    let data = Data::new();
    let file = data.file();
    let args = ["serve", "--listen", "0.0.0.0:0", "--data", file.to_str().unwrap()];
    is_refused(Process::spawn(&args), CANNOT_START, &["0.0.0.0:0", "--tls-cert", "--insecure-no-tls"]).await;
    assert!(!file.exists(), "nothing was made before the options were checked");
    let insecure = Process::spawn(&[&args[..], &["--insecure-no-tls", "--insecure-no-auth"]].concat());
    insecure.says("serving").await;
}

#[tokio::test]
async fn options_that_contradict_each_other_are_refused_by_name() {
    let data = Data::new();
    let options = ["--max-request-bytes", "2048"];
    cannot_serve(&data.file(), &options, &["--max-payload-bytes", "--max-request-bytes 2048"]).await;
    cannot_serve(&data.file(), &["--log", "runlog=loud"], &["--log", "loud"]).await;
}

#[tokio::test]
async fn wrong_options_end_with_the_code_for_usage() {
    for (args, word) in [
        (&["serve", "--no-such-option"][..], "--no-such-option"),
        (&["serve", "--listen", "localhost"], "--listen"),
        (&["serve", "--max-json-depth", "101"], "--max-json-depth"),
        (&["serve", "--lifecycle", "lax"], "--lifecycle"),
        (&["no-such-command"], "no-such-command"),
    ] {
        is_refused(Process::spawn(args), WRONG_OPTIONS, &[word]).await;
    }
}
