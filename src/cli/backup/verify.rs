//! `runlog verify`: checks of a backup, and a replay of its events.

use std::path::PathBuf;

use clap::Args;

use super::{checks, report};
use crate::cli::outcome::Failure;
use crate::cli::output::format::OutputArgs;

/// The options of `runlog verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
It checks all pages and compares every row with its checksum. Then it stores all events again in a scratch store in TMPDIR, \
which takes as much room as the backup, and compares the numbers and hashes of the events and runs of each project. It changes \
nothing. The exit code is 78 where a check failed.")]
pub struct VerifyArgs {
    /// The file of `runlog backup`
    #[arg(value_name = "BACKUP")]
    file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Checks and replays a backup, and prints what it holds.
pub async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let facts = checks::verify(&args.file).await?;
    checks::replay(&args.file).await?;
    let sha256 = checks::sha256(&args.file)?;
    report::print(args.output.format(), &args.file, &facts, &sha256, true)
}
