//! `runlog import`: stores what `runlog export` wrote, as it was.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::input::{self, Next};
use crate::app::{self, ImportError, Imports, Refusal};
use crate::cli::exit::{Exit, Failure};
use crate::cli::migrate::cannot_open;
use crate::cli::progress::bar;
use crate::cli::render::note;
use crate::cli::text::grouped;
use crate::config::StoreOptions;
use crate::domain::Code;

/// The options of `runlog import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Runs, seqs, event ids, times, payloads and their order become what they were; no option of a server cuts or refuses any of it. \
What is there already with the same content is left, so an import that was interrupted is simply run again. The first event \
that differs from what is stored at its place, or does not follow the last one of its run, ends the import: what comes before \
it is stored, nothing behind it. A SQLite file must not be served meanwhile; a PostgreSQL database may.

Cursors of a run stay valid. Cursors of the all-runs feed of the other store are refused by name: readers of that feed begin \
anew.")]
pub struct ImportArgs {
    /// The file; - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A file that is cut off is no error: what is whole of it is all there is
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    store: StoreOptions,
}

/// Imports.
pub async fn run(args: ImportArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let (mut lines, bytes) = input::read(&args.file)?;
    let mut importer = app::importer(&args.store).await.map_err(cannot_open)?;
    let bar = bar(bytes);
    let mut cut_off = None;
    // What is wrong, and with which line.
    let mut failure: Option<(u64, Failure)> = None;
    while let Some(next) = lines.recv().await {
        match next {
            Next::Event(imported, end) => {
                let line = imported.line;
                if let Err(error) = importer.add(*imported).await {
                    failure = Some((error.line, refused(&error)));
                    break;
                }
                bar.set_position(end);
                if line.is_multiple_of(64) {
                    bar.set_message(told(importer.done()));
                }
            }
            Next::End => break,
            Next::CutOff(line) => cut_off = Some(line),
            Next::Damaged(line, problem) => failure = Some((line, Failure::new(Exit::Data, problem))),
        }
    }
    // What came before a bad line is stored all the same, unless an earlier one turns out to be bad.
    if let Err(error) = importer.finish().await
        && failure.as_ref().is_none_or(|(line, _)| error.line < *line)
    {
        failure = Some((error.line, refused(&error)));
    }
    bar.finish_and_clear();
    note(&format!("{}, {:.1} s", told(importer.done()), began.elapsed().as_secs_f64()));
    importer.close().await;
    match (failure, cut_off) {
        (Some((_, failure)), _) => Err(failure),
        (None, Some(line)) if args.partial => {
            note(&format!("the file is cut off behind line {line}"));
            Ok(())
        }
        (None, Some(line)) => {
            let message = format!("the file is cut off behind line {line}; what is whole of it is stored");
            Err(Failure::new(Exit::Data, message).hint("import the whole file, or say --partial"))
        }
        (None, None) => Ok(()),
    }
}

fn told(done: Imports) -> String {
    let Imports { stored, present, runs } = done;
    format!("{} events stored, {} stored before, {} runs", grouped(stored), grouped(present), grouped(runs))
}

fn refused(error: &ImportError) -> Failure {
    let exit = match &error.cause {
        Refusal::Gap { .. } | Refusal::Differs { .. } => Exit::Conflict,
        Refusal::Store(cause) => match cause.code() {
            Code::InvalidArgument | Code::OutOfRange => Exit::Data,
            Code::NotFound => Exit::NotFound,
            Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
            Code::ResourceExhausted => Exit::TryLater,
            Code::Unavailable => Exit::Unavailable,
            Code::Internal | Code::DataLoss => Exit::Protocol,
        },
    };
    let failure = Failure::new(exit, error.to_string());
    match exit {
        Exit::Conflict => failure.hint("nothing behind this line was imported"),
        _ => failure.hint("run the import again; it leaves what is stored"),
    }
}
