//! `runlog backup`: a checked copy of a store.

use std::path::PathBuf;

use clap::Args;

use super::partial::Partial;
use super::{checks, report, source};
use crate::cli::client::ClientArgs;
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::OutputArgs;

/// The options of `runlog backup`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
A running server copies its SQLite store as it is at one moment and sends the copy; publishing goes on meanwhile. Every event that \
was acknowledged before is in it, of all projects, and so are keys (as hashes, never the secrets themselves). The disk of the \
server needs room for the copy. With keys, the call needs one of the project default with the scope admin.

The file has a temporary name beside BACKUP until it is whole, on the disk, and checked: its SHA-256, all its pages, and every row \
with its checksum. What is printed says how far it goes: for each project the position of its last event and the cursor from \
which the feed of all its runs goes on.

`runlog restore` makes a store of it. PostgreSQL is backed up by its own means.")]
pub struct BackupArgs {
    /// The file to write
    #[arg(value_name = "BACKUP")]
    file: PathBuf,
    /// Copy this SQLite file in place of asking a server; a server may have it
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Also store all its events again in a scratch store (TMPDIR), and compare numbers and hashes of the events and runs of
    /// each project, as `runlog verify` does
    #[arg(long)]
    verify: bool,
    /// Replace a file of that name
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

const DAMAGED: &str = "no backup was made; `runlog check --deep` says whether the store itself is damaged; a copy of its file and \
                       FILE-wal, made while no server has them, holds the rest";

/// Writes and checks a backup, and prints what it holds.
pub async fn run(args: BackupArgs) -> Result<(), Failure> {
    let hint = "--force replaces it; `runlog verify` checks it";
    let partial = Partial::begin(&args.file, args.force);
    let partial = partial
        .map_err(|failure| if failure.hint.is_none() && args.file.is_file() { failure.hint(hint) } else { failure })?;
    let copied = match &args.data {
        Some(data) => source::of_file(data, &partial).await?,
        None => source::of_server(&args.client, &partial).await?,
    };
    partial.sync()?;
    let facts = checks::verify(partial.path()).await.map_err(|failure| failure.hint(DAMAGED))?;
    if checks::sha256(partial.path())? != copied.sha256 || facts.events() != copied.events {
        let problem = format!("{}: what was written is not what is read back", partial.path().display());
        return Err(Failure::new(Exit::Config, problem));
    }
    if args.verify {
        checks::replay(partial.path()).await?;
    }
    partial.finish()?;
    report::print(args.output.format(), &args.file, &facts, &copied.sha256, args.verify)
}
