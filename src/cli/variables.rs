//! Variables of the environment as values of options.

use clap::{Arg, Command};

/// The command and its subcommands without variables that are empty: an empty variable is an unset one, as scripts and files of
/// Compose write it (`${X:-}`).
pub fn without_empty(command: Command) -> Command {
    let set = |arg: Arg| if is_empty(&arg) { arg.env(None::<&'static str>) } else { arg };
    command.mut_args(set).mut_subcommands(without_empty)
}

fn is_empty(arg: &Arg) -> bool {
    arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty())
}
