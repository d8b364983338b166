//! One process owns a database file, under any name of the file.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::command::run;
use crate::harness::{Data, Process, Server};
use crate::start::{CANNOT_START, cannot_serve};

const IN_USE: &str = "another runlog process serves this file";

/// Other names of the file in this directory.
fn other_names(data: &Data) -> Vec<PathBuf> {
    let at = |name: &str| data.directory().join(name);
    fs::create_dir(at("elsewhere")).unwrap();
    symlink(data.file(), at("link.db")).unwrap();
    symlink(at("link.db"), at("elsewhere/link-of-link.db")).unwrap();
    symlink(data.directory(), at("directory")).unwrap();
    fs::hard_link(data.file(), at("elsewhere/hard.db")).unwrap();
    let names = ["link.db", "elsewhere/link-of-link.db", "directory/runlog.db", "elsewhere/hard.db"];
    names.into_iter().map(at).chain([at("elsewhere/../runlog.db")]).collect()
}

#[tokio::test]
async fn a_second_server_is_refused_by_whatever_name_it_opens_the_file() {
    let data = Data::new();
    let first = Server::start(&data.file()).await;
    let mut events = first.events().await;
    for (n, name) in other_names(&data).iter().enumerate() {
        cannot_serve(name, &[], &[name.to_str().unwrap(), IN_USE, "--data"]).await;
        assert_eq!(crate::client::publish_one(&mut events, "r", "step", "{}").await, n as u64 + 1, "the first goes on");
    }
    first.kill().await;
    let names = other_names_again(&data);
    // After the owner is gone, any of the names can be opened, and the new owner locks out all others.
    let next = Server::start(&names[0]).await;
    cannot_serve(&data.file(), &[], &[IN_USE]).await;
    cannot_serve(&names[1], &[], &[IN_USE]).await;
    assert_eq!(crate::client::list(&mut next.events().await, "r").await.len(), 5);
}

/// A symbolic and a hard link to the existing names.
fn other_names_again(data: &Data) -> [PathBuf; 2] {
    ["link.db", "elsewhere/hard.db"].map(|name| data.directory().join(name))
}

#[tokio::test]
async fn a_second_server_is_refused_after_the_lock_file_was_removed() {
    let data = Data::new();
    let first = Server::start(&data.file()).await;
    let lock = data.directory().join("runlog.db.lock");
    for _ in 0..2 {
        fs::remove_file(&lock).unwrap();
        cannot_serve(&data.file(), &[], &[data.file().to_str().unwrap(), IN_USE]).await;
    }
    let mut events = first.events().await;
    assert_eq!(crate::client::publish_one(&mut events, "r", "step", "{}").await, 1);
    first.kill().await;
    Server::start(&data.file()).await;
}

#[tokio::test]
async fn a_bind_mount_of_the_file_is_the_same_file() {
    let data = Data::new();
    let first = Server::start(&data.file()).await;
    let mounted = Data::new();
    File::create(mounted.file()).unwrap();
    let mount = |args: &[&std::path::Path], program: &str| {
        let output = Command::new(program).args(args).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !mount(&["--bind".as_ref(), &data.file(), &mounted.file()], "mount") {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must be able to mount: run as root");
        use std::io::Write;
        writeln!(std::io::stderr(), "SKIPPED: a bind mount: this process may not mount").unwrap();
        return;
    }
    let (status, log) = Process::serve(&mounted.file(), &[]).ended().await;
    assert!(mount(&["-l".as_ref(), &mounted.file()], "umount"));
    assert_eq!(status.code(), Some(CANNOT_START), "{log}");
    assert!(log.contains(IN_USE), "{log}");
    assert_eq!(crate::client::publish_one(&mut first.events().await, "r", "step", "{}").await, 1);
}

/// An older program locks only the lock file beside the given name.
#[tokio::test]
async fn a_server_keeps_out_of_a_file_that_an_older_program_serves() {
    let data = Data::new();
    Server::start(&data.file()).await.kill().await;
    let names = other_names(&data);
    let lock_of = |name: &PathBuf| File::options().create(true).append(true).open(name.with_added_extension("lock"));
    for (older, newer) in
        [(data.file(), data.file()), (data.file(), names[0].clone()), (names[0].clone(), names[0].clone())]
    {
        let lock = lock_of(&older).unwrap();
        lock.try_lock().unwrap();
        cannot_serve(&newer, &[], &[IN_USE]).await;
        // Not by closing: a process that another test starts at this moment may have inherited the file.
        lock.unlock().unwrap();
    }
    // And in the opposite order.
    let _server = Server::start(&data.file()).await;
    assert!(lock_of(&data.file()).unwrap().try_lock().is_err());
}

#[tokio::test]
async fn commands_that_open_a_file_know_its_owner_by_every_name() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let mut events = server.events().await;
    for n in 1..=50 {
        assert_eq!(crate::client::publish_one(&mut events, "r", "step", "{}").await, n);
    }
    let lines = data.directory().join("lines.ndjson");
    run(&server.url(), &["export", "-o", lines.to_str().unwrap()]).await.succeeds();
    for name in other_names(&data) {
        let name = name.to_str().unwrap();
        run(&server.url(), &["migrate", "--data", name]).await.fails(CANNOT_START, &[name, IN_USE]);
        run(&server.url(), &["import", lines.to_str().unwrap(), "--data", name])
            .await
            .fails(CANNOT_START, &[name, IN_USE]);
        run(&server.url(), &["export", "--data", name]).await.fails(CANNOT_START, &[name, IN_USE]);
        let checked =
            run(&server.url(), &["check", "--data", name, "--listen", "127.0.0.1:0", "--deep"]).await.succeeds();
        assert!(checked.contains("a server serves it now"), "{checked}");
        // A hard link has no write-ahead log beside it.
        if !name.ends_with("hard.db") {
            assert!(checked.contains("50 events"), "{checked}");
        }
    }
    assert_eq!(crate::client::publish_one(&mut events, "r", "step", "{}").await, 51);
}
