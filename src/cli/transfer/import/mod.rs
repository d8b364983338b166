//! `runlog import`: stores the events of an export unchanged.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::input::{Input, Next};
use super::line::Trailer;
use crate::cli::commands::migrate::cannot_open;
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::progress::bar;
use crate::cli::output::render::note;
use crate::cli::output::text::grouped;
use crate::config::StoreOptions;
use crate::domain::{Code, ProjectId};
use crate::server;
use crate::server::{ImportError, Importer, Imports, Refusal};

/// The options of `runlog import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Runs, seqs, event ids, times, payloads and their order become what they were; no option of a server cuts or refuses any of it. \
The whole file is checked first, with its SHA-256: nothing is stored of one that was damaged or changed. What comes from a pipe \
is kept meanwhile in a temporary file without a name, in the directory that TMPDIR names.

What is there already with the same content is left, so an import that was interrupted is simply run again. The first event \
that differs from what is stored at its place, or does not follow the last one of its run, ends the import: what comes before \
it is stored, nothing behind it. A SQLite file must not be served meanwhile; a PostgreSQL database may.

Cursors of a run stay valid. Cursors of the all-runs feed of the other store are refused by name: readers of that feed start \
from the beginning.")]
pub struct ImportArgs {
    /// The file; - for stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A file that is cut off is no error: what is whole of it is all there is, and there is no SHA-256 to check
    #[arg(long)]
    partial: bool,
    /// Project of the store that gets the runs; made if it is new. Needed where the export is of another project than `default`
    #[arg(long, value_name = "PROJECT", value_parser = ProjectId::parse)]
    project: Option<ProjectId>,
    #[command(flatten)]
    store: StoreOptions,
}

/// Result of the check pass.
struct Checked {
    /// Project of the exported runs.
    project: String,
    trailer: Trailer,
    /// Number of the last complete line, if the file has no trailer.
    cut_off: Option<u64>,
}

/// Checks the whole file, then stores the events.
pub async fn run(args: ImportArgs) -> Result<(), Failure> {
    let began = Instant::now();
    let mut input = Input::open(&args.file)?;
    let checked = check(&mut input, args.partial).await?;
    let project = match args.project {
        Some(project) => project,
        None if checked.project == ProjectId::DEFAULT => ProjectId::default(),
        None => {
            let failure = Failure::new(Exit::Usage, format!("the export is of the project {}", checked.project));
            return Err(failure.hint("nothing was stored; --project names the project that gets the runs"));
        }
    };
    let mut importer = server::importer(&args.store, &project).await.map_err(cannot_open)?;
    let stored = store(&mut importer, &mut input, &checked).await;
    let into = if project == ProjectId::default() { String::new() } else { format!(" into the project {project}") };
    note(&format!("{}{into}, {:.1} s", summary(importer.done()), began.elapsed().as_secs_f64()));
    importer.close().await;
    stored?;
    if let Some(line) = checked.cut_off {
        note(&format!("the file is cut off behind line {line}"));
    }
    Ok(())
}

/// First pass: reads and checks the whole file, without a write to the store.
async fn check(input: &mut Input, is_partial: bool) -> Result<Checked, Failure> {
    let mut lines = input.read()?;
    let bar = bar(input.bytes);
    let refused = |exit, problem: String| Err(Failure::new(exit, problem).hint("nothing was stored"));
    let mut project = String::new();
    let checked = loop {
        match lines.recv().await {
            Some(Next::Header(of_header)) => project = of_header,
            Some(Next::Event(imported, end)) => {
                bar.set_position(end);
                if imported.line.is_multiple_of(1024) {
                    bar.set_message(format!("{} events checked", grouped(imported.line)));
                }
            }
            Some(Next::End(trailer)) => break Ok(Checked { project, trailer, cut_off: None }),
            Some(Next::CutOff(line, trailer)) if is_partial => {
                break Ok(Checked { project, trailer, cut_off: Some(line) });
            }
            Some(Next::CutOff(line, _)) => {
                let failure = Failure::new(Exit::Data, format!("the file is cut off behind line {line}"));
                break Err(failure.hint("nothing was stored; import the whole file, or say --partial"));
            }
            Some(Next::Damaged(problem)) => break refused(Exit::Data, problem),
            Some(Next::Unreadable(error)) => break refused(Exit::Other, format!("cannot read on: {error}")),
            None => break refused(Exit::Other, "the export was not read to its end".to_owned()),
        }
    };
    bar.finish_and_clear();
    checked
}

/// Second pass: stores the events. The trailer is compared with the first pass, since the file may have changed.
async fn store(importer: &mut Importer, input: &mut Input, checked: &Checked) -> Result<(), Failure> {
    let mut lines = input.read()?;
    let bar = bar(input.bytes);
    // Line number and error of the first failure.
    let mut failure: Option<(u64, Failure)> = None;
    let mut at = 0;
    let changed = || {
        let failure = Failure::new(Exit::Data, "the file changed while it was imported; it may be stored in part");
        failure.hint("import the whole file again: what is stored is compared, and what differs named")
    };
    loop {
        match lines.recv().await {
            Some(Next::Header(_)) => {}
            Some(Next::Event(imported, end)) => {
                at = imported.line;
                if let Err(error) = importer.add(*imported).await {
                    failure = Some((error.line, refused(&error)));
                    break;
                }
                bar.set_position(end);
                if at.is_multiple_of(64) {
                    bar.set_message(summary(importer.done()));
                }
            }
            Some(Next::End(trailer)) if checked.cut_off.is_none() && trailer == checked.trailer => break,
            Some(Next::CutOff(line, trailer)) if checked.cut_off == Some(line) && trailer == checked.trailer => break,
            Some(Next::Unreadable(error)) => {
                failure = Some((at + 1, Failure::new(Exit::Other, format!("cannot read on: {error}"))));
                break;
            }
            Some(Next::End(_) | Next::CutOff(..) | Next::Damaged(..)) | None => {
                failure = Some((at + 1, changed()));
                break;
            }
        }
    }
    // Events before a bad line are stored, unless an earlier line turns out to be bad.
    if let Err(error) = importer.finish().await
        && failure.as_ref().is_none_or(|(line, _)| error.line < *line)
    {
        failure = Some((error.line, refused(&error)));
    }
    bar.finish_and_clear();
    failure.map_or(Ok(()), |(_, failure)| Err(failure))
}

fn summary(done: Imports) -> String {
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
            Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        },
    };
    let failure = Failure::new(exit, error.to_string());
    match exit {
        Exit::Conflict => failure.hint("nothing behind this line was imported"),
        _ => failure.hint("run the import again; it leaves what is stored"),
    }
}

#[cfg(test)]
mod tests;
