//! What is known of a backup, for people or as JSON.

use std::path::Path;

use serde::Serialize;

use crate::cli::outcome::Failure;
use crate::cli::output::format::Format;
use crate::cli::output::json_line;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::Clock;
use crate::cli::output::text::{clean, grouped};
use crate::server::backup::{BackupFacts, BackupProject};

#[derive(Serialize)]
struct Report<'a> {
    file: String,
    bytes: u64,
    events: u64,
    schema_version: i64,
    sha256: &'a str,
    /// Whether the events were replayed, too.
    replayed: bool,
    projects: Vec<Project<'a>>,
}

#[derive(Serialize)]
struct Project<'a> {
    project: &'a str,
    position: u64,
    cursor: &'a str,
}

/// Prints what a checked file holds.
pub fn print(format: Format, file: &Path, facts: &BackupFacts, sha256: &str, replayed: bool) -> Result<(), Failure> {
    let json = || json_line::line(&report(file, facts, sha256, replayed));
    Printer::new(format, Clock::Day).only(json, || text(file, facts, sha256, replayed))
}

fn report<'a>(file: &Path, facts: &'a BackupFacts, sha256: &'a str, replayed: bool) -> Report<'a> {
    let project = |project: &'a BackupProject| Project {
        project: project.id.as_str(),
        position: project.position,
        cursor: &project.cursor,
    };
    Report {
        file: file.display().to_string(),
        bytes: facts.bytes,
        events: facts.events(),
        schema_version: facts.schema_version,
        sha256,
        replayed,
        projects: facts.projects.iter().map(project).collect(),
    }
}

fn text(file: &Path, facts: &BackupFacts, sha256: &str, replayed: bool) -> String {
    let (events, bytes) = (grouped(facts.events()), grouped(facts.bytes));
    let checked = if replayed { "checked and replayed" } else { "checked" };
    let name = file.display().to_string();
    let mut lines =
        vec![format!("{}: {events} events, {bytes} bytes, {checked}", clean(&name)), format!("sha256    {sha256}")];
    for BackupProject { id, position, cursor } in &facts.projects {
        lines.push(format!("position  {position} of the project {id}, cursor {cursor}"));
    }
    lines.join("\n")
}
