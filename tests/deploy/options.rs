//! `deploy/runlog.env`: every option of `runlog serve`, generated from the definitions of the options.

use std::fmt::Write;

use clap::{Arg, Args, Command, FromArgMatches};
use runlog::config::ServeOptions;

use crate::read;

/// Width of a comment.
const WIDTH: usize = 118;

const HEAD: &str = "\
# Every option of `runlog serve`, with its default; take the `#` away from those that you change. For systemd
# (EnvironmentFile=), Docker (--env-file) and shells. Where a text speaks of --some-option, here it is RUNLOG_SOME_OPTION.
";

/// The form of a key, and none that the server takes: an example that works would be a key that everybody knows.
const NO_KEY: &str = "key_admin:SECRET";

/// Example values of the options without a default.
const EXAMPLES: [(&str, &str); 20] = [
    ("RUNLOG_ADMIN_LISTEN", "127.0.0.1:7801"),
    ("RUNLOG_MAX_MEMORY_BYTES", "1073741824"),
    ("RUNLOG_STORE", "postgres://runlog:password@db.example.com:5432/runlog?sslmode=verify-full"),
    ("RUNLOG_ADMIN_KEY_FILE", "/etc/runlog/admin.key"),
    ("RUNLOG_ADMIN_KEY", NO_KEY),
    ("RUNLOG_OPEN_ROUTES", "metrics"),
    ("RUNLOG_INSECURE_NO_AUTH", "false"),
    ("RUNLOG_INSECURE_NO_TLS", "false"),
    ("RUNLOG_KEY_STREAMS", "1000"),
    ("RUNLOG_COMPACT_DELTAS_AFTER", "10m"),
    ("RUNLOG_RETAIN_FOR", "365d,30d@demo"),
    ("RUNLOG_RETAIN_TYPE", "step.progress=1d"),
    ("RUNLOG_RETAIN_STATUS", "FAILED=730d"),
    ("RUNLOG_RETAIN_BYTES", "100000000000"),
    ("RUNLOG_ALLOWED_HOSTS", "runlog.internal,runlog.internal:7800"),
    ("RUNLOG_MAX_CONNECTIONS_PER_ADDRESS", "10000"),
    ("RUNLOG_CORS_ORIGINS", "https://app.example.com,https://admin.example.com"),
    ("RUNLOG_TLS_CERT", "/etc/runlog/tls.crt"),
    ("RUNLOG_TLS_KEY", "/etc/runlog/tls.key"),
    ("RUNLOG_TLS_CLIENT_CA", "/etc/runlog/clients.crt"),
];

fn command() -> Command {
    ServeOptions::augment_args(Command::new("serve"))
}

fn name(arg: &Arg) -> &str {
    arg.get_env().unwrap().to_str().unwrap()
}

fn comment(into: &mut String, text: &str) {
    let mut width = usize::MAX;
    for word in text.split_whitespace() {
        if width.saturating_add(word.chars().count() + 1) > WIDTH {
            into.push_str(if width == usize::MAX { "#" } else { "\n#" });
            width = 1;
        }
        write!(into, " {word}").unwrap();
        width += word.chars().count() + 1;
    }
    into.push('\n');
}

/// The options in the order of the help: under their headings, options without a heading first.
fn expected() -> String {
    let command = command();
    let mut headings = vec![None];
    for heading in command.get_arguments().map(Arg::get_help_heading) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let mut text = HEAD.to_owned();
    for heading in headings {
        if let Some(heading) = heading {
            write!(text, "\n#### {heading}\n").unwrap();
        }
        for arg in command.get_arguments().filter(|arg| arg.get_help_heading() == heading) {
            text.push('\n');
            option(&mut text, arg);
        }
    }
    text
}

fn option(text: &mut String, arg: &Arg) {
    let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
    let example = EXAMPLES.iter().find(|(of, _)| *of == name(arg)).map(|(_, example)| *example);
    let value = match (arg.get_default_values(), example) {
        ([default], None) => default.to_str().unwrap(),
        ([], Some("false")) => "false",
        ([], Some(example)) => {
            comment(text, &format!("{} None by default; an example:", help.trim_end_matches('.').to_owned() + "."));
            return writeln!(text, "#{}={example}", name(arg)).unwrap();
        }
        (defaults, example) => panic!("{}: {defaults:?} and the example {example:?}", name(arg)),
    };
    comment(text, &help);
    writeln!(text, "#{}={value}", name(arg)).unwrap();
}

#[test]
fn the_example_names_every_option_with_its_words_and_its_default_and_nothing_else() {
    let (expected, text) = (expected(), read("deploy/runlog.env"));
    let differs = expected.lines().zip(text.lines()).find(|(expected, text)| expected != text);
    if expected != text {
        // Written to a file for review, to be copied to `deploy/runlog.env`.
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("runlog.env");
        std::fs::write(&path, &expected).unwrap();
        panic!("deploy/runlog.env differs from {}: {differs:?}", path.display());
    }
}

#[test]
fn every_line_of_the_example_is_what_the_program_takes() {
    let text = read("deploy/runlog.env");
    let taken = |of: &dyn Fn(&str) -> bool| {
        let mut words = vec!["serve".to_owned()];
        for line in text.lines().filter_map(|line| line.strip_prefix("#RUNLOG_")) {
            let (variable, value) = line.split_once('=').unwrap();
            let flag = format!("--{}", variable.to_lowercase().replace('_', "-"));
            if of(&format!("RUNLOG_{variable}")) && value != "false" {
                words.push(format!("{flag}={value}"));
            }
        }
        let command = command().mut_args(|arg| arg.env(None::<&'static str>));
        ServeOptions::from_arg_matches(&command.try_get_matches_from(words).unwrap()).unwrap()
    };
    let has_default = |variable: &str| EXAMPLES.iter().all(|(example, _)| *example != variable);
    assert_eq!(format!("{:?}", taken(&has_default)), format!("{:?}", ServeOptions::default()));
    // One of both, and the file is read.
    taken(&|variable| !variable.starts_with("RUNLOG_ADMIN_KEY")).validate().unwrap();
    let problem = taken(&|variable| variable != "RUNLOG_ADMIN_KEY_FILE").validate().unwrap_err();
    assert!(problem.to_string().contains("RUNLOG_ADMIN_KEY: no key"), "{problem}");
}
