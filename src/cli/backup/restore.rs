//! `runlog restore`: a new store out of a backup.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use clap::Args;

use super::partial::Partial;
use super::{checks, report};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::OutputArgs;
use crate::cli::output::render::note;
use crate::server::backup::give_new_feeds;

/// The options of `runlog restore`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The copy is checked as `runlog backup` checks it before it gets its name; a file of that name is never replaced. `runlog serve \
--data` serves it. Cursors of a run stay valid, and so do keys; stream tokens end.

Without --new-feed the store takes the place of the original. Cursors of the feed of all runs up to the backup stay valid; those \
behind it are refused with HISTORY_LOST and the cursor up to which nothing has changed.

With --new-feed it is another store. Where the original goes on, say so: both give new events the same positions. Every cursor \
of the feed of all runs of the original is refused with CURSOR_INVALID then, and a reader begins again.")]
pub struct RestoreArgs {
    /// The file of `runlog backup`
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// The SQLite file to make, which must not be there yet
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Give the feeds of all runs a new identity, since those of the original go on elsewhere
    #[arg(long)]
    new_feed: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Copies and checks a backup, and prints what the new store holds.
pub async fn run(args: RestoreArgs) -> Result<(), Failure> {
    checks::is_backup(&args.backup).await?;
    let partial = Partial::begin(&args.data, false)?;
    let copied = File::open(&args.backup).and_then(|mut backup| io::copy(&mut backup, &mut &partial.file));
    copied.map_err(|error| {
        let (from, to) = (args.backup.display(), partial.path().display());
        Failure::new(Exit::Other, format!("cannot copy {from} to {to}: {error}"))
    })?;
    let mut facts = checks::verify(partial.path()).await?;
    if args.new_feed {
        give_new_feeds(partial.path()).await.map_err(|error| checks::failure(&error))?;
        facts = checks::verify(partial.path()).await?;
    }
    let sha256 = checks::sha256(partial.path())?;
    partial.finish()?;
    report::print(args.output.format(), &args.data, &facts, &sha256, false)?;
    note(match args.new_feed {
        true => {
            "its feeds are new: cursors of all runs of the original are refused with CURSOR_INVALID; cursors of a run stay valid"
        }
        false => {
            "it takes the place of the original: cursors of all runs behind the backup are refused with HISTORY_LOST; where the \
             original goes on, restore with --new-feed"
        }
    });
    Ok(())
}
