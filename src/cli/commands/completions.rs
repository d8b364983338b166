//! `runlog completions` and `runlog man`: what shells and `man` read of the command line.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::outcome::Failure;

/// The options of `runlog completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The options of `runlog man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this directory, which must be there; without it only runlog(1), to stdout
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub fn run(args: &CompletionsArgs, mut command: Command) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "runlog", &mut text);
    print(&text)
}

/// Prints one page, or writes all.
pub fn man(args: &ManArgs, command: Command) -> Result<(), Failure> {
    if let Some(directory) = &args.directory {
        return clap_mangen::generate_to(command, directory)
            .map_err(|error| Failure::of_file("--directory", directory, &error));
    }
    let mut text = Vec::new();
    Man::new(command).render(&mut text).map_err(Failure::output)?;
    print(&text)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout();
    out.write_all(text).and_then(|()| out.flush()).map_err(Failure::output)
}
