//! `runlog migrate`: applies pending schema migrations of a store, for instance before a server upgrade.

use clap::Args;

use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::Format;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::Clock;
use crate::config::StoreOptions;
use crate::server;
use crate::server::StartError;

/// The options of `runlog migrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "A server does the same when it starts. In PostgreSQL it may be done while servers run, under the \
                        lock that they take; a SQLite file that is served was migrated when its server started."
)]
pub struct MigrateArgs {
    /// Change nothing, print what is pending, and exit with 3 if anything is
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    store: StoreOptions,
}

/// Prints the pending or applied migrations and the schema versions.
pub async fn run(args: MigrateArgs) -> Result<(), Failure> {
    let before = if args.dry_run { server::schema(&args.store).await } else { server::migrate(&args.store).await };
    let before = before.map_err(cannot_open)?;
    let mut printer = Printer::new(Format::Table, Clock::Day);
    let done = if args.dry_run { "pending" } else { "applied" };
    for (version, name) in &before.pending {
        printer.line(&format!("{done}  {version}  {name}"))?;
    }
    let (found, known) = (before.found, before.known);
    match (before.pending.len(), args.dry_run) {
        (0, _) => printer.line(&format!("schema version {found}, up to date"))?,
        (_, false) => printer.line(&format!("schema version {found} before, {known} now"))?,
        (_, true) => printer.line(&format!("schema version {found}, {known} is needed"))?,
    }
    printer.flush()?;
    match before.pending.len() {
        pending if args.dry_run && pending > 0 => {
            Err(Failure::new(Exit::Pending, format!("migrations are pending: {pending}")).hint("`runlog migrate`"))
        }
        _ => Ok(()),
    }
}

/// Error of a store that cannot be opened.
pub fn cannot_open(error: StartError) -> Failure {
    Failure::new(Exit::Config, error.to_string())
}
