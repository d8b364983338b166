//! How a command prints its results: for people, or as JSON.

use clap::{Args, ValueEnum};

/// Form of the results on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned lines for people.
    #[default]
    Table,
    /// One JSON document: an object, or an array where there may be several results.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// The options of every command that prints results.
#[derive(Clone, Debug, Default, Args)]
pub struct OutputArgs {
    /// Form of the output: `table` for people, `jsonl` for one JSON object a line, `json` for one document, which is an
    /// array where there may be several results
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table", hide_possible_values = true)]
    output: Format,
    /// Short for --output jsonl
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

impl OutputArgs {
    /// The chosen form.
    pub fn format(&self) -> Format {
        if self.json { Format::Jsonl } else { self.output }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn format(args: &[&str]) -> Option<Format> {
        let matches =
            OutputArgs::augment_args(Command::new("list")).try_get_matches_from([&["list"], args].concat()).ok()?;
        Some(OutputArgs::from_arg_matches(&matches).unwrap().format())
    }

    #[test]
    fn json_is_short_for_a_json_object_a_line() {
        assert_eq!(format(&[]), Some(Format::Table));
        assert_eq!(format(&["--json"]), Some(Format::Jsonl));
        assert_eq!(format(&["--output", "json"]), Some(Format::Json));
        assert_eq!((format(&["--json", "--output", "table"]), format(&["--output", "yaml"])), (None, None));
    }
}
