//! Files that `export --resume` leaves unchanged.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use crate::command::run;
use crate::harness::{Data, Server};
use crate::transfer::{NOWHERE, export};
use crate::transfer_refusals::exported;

/// Resumes against an address without a server: a foreign file is refused without a server.
async fn resume_from_nowhere(file: &Path) -> crate::command::Ran {
    export(&["--resume", "--reconnect-for", "0s"], file).await
}

#[tokio::test]
async fn a_file_that_is_no_export_is_left_as_it_is_with_a_server_and_without() {
    let data = Data::new();
    let (_, lines) = exported(&data).await;
    let (header, event) = (lines[0].as_str(), lines[1].as_str());
    let other_version = header.replace("\"runlog_export\":1", "\"runlog_export\":2");
    let foreign = [
        "precious".to_owned(),
        "a list\nof things\n".to_owned(),
        "{".to_owned(),
        "{\"a\":1}".to_owned(),
        "\n".to_owned(),
        other_version.clone(),
        format!("{other_version}\n{event}\n"),
        format!("{header}\r\n{event}\r\n"),
        format!("{header}\n{event}\r\n"),
        format!("{header}\n{event}\nprecious"),
        format!("{header}\n{event}\nprecious\n"),
        format!("{header} precious"),
        format!("\u{feff}{header}\n"),
        "x".repeat(100_000),
    ];
    let server = Server::start(&data.file()).await;
    let file = data.directory().join("foreign");
    for text in foreign {
        std::fs::write(&file, &text).unwrap();
        let link = data.directory().join("link");
        let _ = std::fs::remove_file(&link);
        symlink(&file, &link).unwrap();
        resume_from_nowhere(&file).await.fails(65, &["left as it is"]);
        for path in [&file, &link] {
            let ran = run(&server.url(), &["export", "--resume", "-o", path.to_str().unwrap()]).await;
            ran.fails(65, &["line ", "left as it is"]);
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    }
    // Not a regular file.
    let pipe = data.directory().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [data.directory(), pipe.as_path()] {
        let ran = run(&server.url(), &["export", "--resume", "-o", path.to_str().unwrap()]).await;
        ran.fails(65, &["no regular file"]);
    }
    assert!(pipe.metadata().unwrap().file_type().is_fifo());
}

#[tokio::test]
async fn an_export_that_was_cut_off_is_not_touched_before_its_own_store_answered() {
    let (data, other) = (Data::new(), Data::new());
    let (whole, lines) = exported(&data).await;
    exported(&other).await;
    let expected = std::fs::read_to_string(&whole).unwrap();
    let other_path = other.file();
    let own_path = data.file();
    let file = data.directory().join("cut");
    let (header, first) = (lines[0].len(), lines[1].len());
    // Cuts within the header, before and after its line break, within an event, and within the trailer.
    for cut in [10, header, header + 1, header + 30, header + 1 + first, expected.len() - 10] {
        std::fs::write(&file, &expected[..cut]).unwrap();
        resume_from_nowhere(&file).await.fails(69, &["cannot connect"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected[..cut], "cut at {cut}, no server");
        if cut >= header {
            let of_other = ["--resume", "--data", other_path.to_str().unwrap()];
            export(&of_other, &file).await.fails(73, &["feed differs"]);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), expected[..cut], "cut at {cut}, another store");
        }
        // Another export is writing the file.
        let held = std::fs::File::open(&file).unwrap();
        held.lock().unwrap();
        let own = ["--resume", "--data", own_path.to_str().unwrap()];
        export(&own, &file).await.fails(73, &["another export"]);
        // Not by closing: a process that another test starts at this moment may have inherited the file.
        held.unlock().unwrap();
        export(&own, &file).await.succeeds();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected, "cut at {cut}");
    }
    // Through a link, which is kept; an empty file is a new export.
    let link = data.directory().join("link");
    symlink(&file, &link).unwrap();
    for cut in [0, expected.len() - 10] {
        std::fs::write(&file, &expected[..cut]).unwrap();
        export(&["--resume", "--data", own_path.to_str().unwrap()], &link).await.succeeds();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    }
    // More events than the header allows: not an export with this header.
    let beyond = format!("{}{}\n", &expected[..expected.len() - lines[13].len() - 1], lines[1]);
    std::fs::write(&file, &beyond).unwrap();
    export(&["--resume", "--data", own_path.to_str().unwrap()], &file).await.fails(73, &["until differs"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), beyond);
    assert_eq!(run(NOWHERE, &["export", "--resume"]).await.code, Some(64));
}

#[tokio::test]
async fn a_store_that_went_back_in_time_does_not_continue_an_export() {
    let data = Data::new();
    exported(&data).await;
    let older = data.directory().join("older.db");
    for suffix in ["", "-wal"] {
        let name = |path: &Path| format!("{}{suffix}", path.display());
        let copied = std::fs::copy(name(&data.file()), name(&older));
        assert!(copied.is_ok() || suffix == "-wal");
    }
    for store in [data.file(), older.clone()] {
        let server = Server::start(&store).await;
        crate::client::publish_one(&mut server.events().await, "later", "step", "{}").await;
        server.terminate().await;
        server.ended().await;
    }
    let (file, own) = (data.directory().join("file"), data.file());
    export(&["--data", own.to_str().unwrap()], &file).await.succeeds();
    let text = std::fs::read_to_string(&file).unwrap();
    export(&["--resume", "--data", older.to_str().unwrap()], &file).await.fails(73, &["another event"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}
