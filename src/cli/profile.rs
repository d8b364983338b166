//! Profiles: a server with its certificates and key under a name, in a file of the user.
//!
//! An option or a variable wins over the profile: its values become the defaults of the options.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use http::Uri;
use serde::Deserialize;

use super::client::server_url;
use super::outcome::{Exit, Failure};
use crate::config::KeyText;

const ID: &str = "profile";
const SERVER: &str = "server";

/// One profile. Each member stands for the option of the same name; paths are relative to the file of the profiles.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// `--server`.
    server: Option<String>,
    /// `--ca`.
    ca: Option<PathBuf>,
    /// `--cert`.
    cert: Option<PathBuf>,
    /// `--cert-key`.
    cert_key: Option<PathBuf>,
    /// `--key`: the file with the key. The project is that of the key.
    key_file: Option<PathBuf>,
}

/// The file: a table for each profile.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// The command with `--profile`, before the subcommand or behind a subcommand that calls a server.
pub fn with_option(command: Command) -> Command {
    command.arg(option()).mut_subcommands(on_callers)
}

fn on_callers(command: Command) -> Command {
    let command = if calls_server(&command) { command.arg(option().help_heading("Server")) } else { command };
    command.mut_subcommands(on_callers)
}

fn calls_server(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == SERVER)
}

fn option() -> Arg {
    Arg::new(ID).long("profile").env("RUNLOG_PROFILE").value_name("NAME").help(
        "Take server, certificates and key from this profile of ~/.config/runlog/config.toml, or of the file that \
         RUNLOG_CONFIG names; other options and variables win over it",
    )
}

/// Name of the chosen profile. The command line wins over the variable.
pub fn chosen(matches: &ArgMatches) -> Result<Option<String>, Failure> {
    let given = |matches: &ArgMatches, source| {
        let name = matches.try_get_one::<String>(ID).ok().flatten()?;
        (matches.value_source(ID) == Some(source)).then(|| name.clone())
    };
    let last = last(matches);
    let named = given(last, ValueSource::CommandLine).or_else(|| given(matches, ValueSource::CommandLine));
    match (last.try_contains_id(ID), named) {
        (Err(_), Some(_)) => Err(Failure::new(Exit::Usage, "--profile: this command calls no server")),
        (Err(_), None) => Ok(None),
        (Ok(_), named) => Ok(named.or_else(|| given(last, ValueSource::EnvVariable))),
    }
}

/// What the innermost subcommand was given.
fn last(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| last(inner))
}

impl Profile {
    /// Reads a profile from the file of the user.
    pub fn load(name: &str) -> Result<Self, Failure> {
        let file = file()?;
        let text = fs::read_to_string(&file).map_err(|error| {
            Failure::of_file("--profile:", &file, &error).hint("RUNLOG_CONFIG names another file of profiles")
        })?;
        Self::parse(&text, name, &file)
    }

    fn parse(text: &str, name: &str, file: &Path) -> Result<Self, Failure> {
        let wrong = |problem: String| Failure::new(Exit::Usage, format!("{}: {problem}", file.display()));
        let Profiles { mut profiles } = toml::from_str(text).map_err(|error| {
            // Not the text itself: it may hold a key by mistake.
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            wrong(format!("line {line}: {}", error.message().lines().next().unwrap_or_default()))
                .hint("a profile has server, ca, cert, cert_key and key_file, below [profiles.NAME]")
        })?;
        let Some(mut profile) = profiles.remove(name) else {
            let known: Vec<String> = profiles.into_keys().collect();
            let known =
                if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            return Err(wrong(format!("there is no profile {name:?}; {known}")));
        };
        if let Some(server) = &profile.server {
            server_url(server).map_err(|problem| wrong(format!("profile {name}, server: {problem}")))?;
        }
        if profile.cert.is_some() != profile.cert_key.is_some() {
            return Err(wrong(format!("profile {name}: cert and cert_key belong together")));
        }
        for (member, path) in profile.files() {
            // Not printed: somebody wrote the key itself.
            if path.as_ref().is_some_and(|path| is_like_a_key(&path.display().to_string())) {
                let failure = wrong(format!("profile {name}, {member}: takes the path of a file, not a key"));
                return Err(failure.hint("key_file names the file with the key"));
            }
        }
        let directory = file.parent().unwrap_or(Path::new("."));
        for (_, path) in profile.files() {
            *path = path.take().map(|path| directory.join(path));
        }
        for (member, secret) in [("cert_key", &profile.cert_key), ("key_file", &profile.key_file)] {
            if let Some(secret) = secret {
                is_private(secret).map_err(|problem| {
                    let failure = wrong(format!("profile {name}, {member}: {problem}"));
                    failure.hint(format!("chmod 600 {}", secret.display()))
                })?;
            }
        }
        Ok(profile)
    }

    /// The members that are paths, by name.
    fn files(&mut self) -> [(&'static str, &mut Option<PathBuf>); 4] {
        let Self { server: _, ca, cert, cert_key, key_file } = self;
        [("ca", ca), ("cert", cert), ("cert_key", cert_key), ("key_file", key_file)]
    }

    /// Without key and certificate where an option or a variable names another server than the profile: they are for that of the
    /// profile.
    #[must_use]
    pub fn for_server_of(self, matches: &ArgMatches) -> Self {
        let of_profile = self.server.as_deref().and_then(|server| server_url(server).ok());
        let given = last(matches).try_get_many::<Uri>(SERVER).ok().flatten();
        let (Some(of_profile), Some(mut given)) = (of_profile, given) else { return self };
        let is_default = last(matches).value_source(SERVER) == Some(ValueSource::DefaultValue);
        if is_default || given.all(|server| *server == of_profile) {
            return self;
        }
        Self { server: self.server, ca: self.ca, ..Default::default() }
    }

    /// The command with the values of the profile as defaults.
    pub fn applied(&self, command: Command) -> Command {
        let command = if calls_server(&command) { command.mut_args(|arg| self.default(arg)) } else { command };
        command.mut_subcommands(|command| self.applied(command))
    }

    fn default(&self, arg: Arg) -> Arg {
        let path = |path: &Option<PathBuf>| path.clone().map(OsString::from);
        // The key in the variable wins over the file of the profile.
        let has_key = std::env::var_os("RUNLOG_KEY").is_some_and(|key| !key.is_empty());
        let value = match arg.get_id().as_str() {
            SERVER => self.server.clone().map(OsString::from),
            "ca" => path(&self.ca),
            "cert" => path(&self.cert),
            "cert_key" => path(&self.cert_key),
            "key" if !has_key => path(&self.key_file),
            _ => None,
        };
        match value {
            Some(value) => arg.default_value(value).hide_default_value(true),
            None => arg,
        }
    }
}

/// The file of profiles: that of `RUNLOG_CONFIG`, or `runlog/config.toml` below the directory of the user's configuration.
fn file() -> Result<PathBuf, Failure> {
    let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = path("RUNLOG_CONFIG") {
        return Ok(file);
    }
    let directory = path("XDG_CONFIG_HOME").or_else(|| path("HOME").map(|home| home.join(".config")));
    let directory = directory.ok_or_else(|| {
        Failure::new(Exit::Usage, "--profile: without HOME there is no file of profiles")
            .hint("RUNLOG_CONFIG names one")
    })?;
    Ok(directory.join("runlog").join("config.toml"))
}

/// Whether the text is a key, or was meant as one.
fn is_like_a_key(text: &str) -> bool {
    let begins_so = text.trim_start().starts_with("key_") && text.contains(':');
    begins_so || KeyText::from(text.to_owned()).credential().is_ok()
}

/// Fails on a secret that every user of the machine may read or change: by its mode, and by those of its directories. A file
/// that is not there is found by the command.
fn is_private(file: &Path) -> Result<(), String> {
    let Ok(file) = fs::canonicalize(file) else { return Ok(()) };
    let allows = |path: &Path, bits| fs::metadata(path).is_ok_and(|of| of.permissions().mode() & bits != 0);
    let is_open = allows(&file, 0o006) && file.ancestors().skip(1).all(|directory| allows(directory, 0o001));
    if is_open { Err(format!("other users of this machine may read or change {}", file.display())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let text = Profile::parse(text, "prod", Path::new("/c/config.toml")).unwrap_err().text();
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_profile_is_a_table_with_paths_beside_the_file() {
        let text =
            "[profiles.prod]\nserver = \"https://h:1\"\nca = \"ca.pem\"\nkey_file = \"/k/prod.key\"\n[profiles.dev]\n";
        let profile = Profile::parse(text, "prod", Path::new("/c/config.toml")).unwrap();
        assert_eq!(profile.server.as_deref(), Some("https://h:1"));
        assert_eq!(profile.ca.as_deref(), Some(Path::new("/c/ca.pem")));
        assert_eq!(profile.key_file.as_deref(), Some(Path::new("/k/prod.key")));
        assert!(Profile::parse(text, "dev", Path::new("c")).unwrap().server.is_none());
    }

    #[test]
    fn a_profile_that_is_wrong_is_refused_by_name_and_a_key_in_it_is_not_shown() {
        assert!(refusal("[profiles.a]\n[profiles.b]\n").contains("there is no profile \"prod\"; it has a, b"));
        assert!(refusal("").contains("it has none"));
        assert!(refusal("[profiles.prod]\nserver = \"http://h/v1\"").contains("profile prod, server: leave /v1 out"));
        assert!(refusal("[profiles.prod]\ncert = \"c\"").contains("belong together"));
        let text = refusal("[profiles.prod]\nkey = \"key_abc:SECRETSECRETSECRETSECRET\"\n");
        assert!(text.contains("config.toml: line ") && text.contains("key_file") && !text.contains("SECRET"), "{text}");
        for member in ["key_file", "ca"] {
            let text = refusal(&format!("[profiles.prod]\n{member} = \" key_abc:SECRETSECRETSECRETSECRET\"\n"));
            assert!(text.contains(&format!("profile prod, {member}: ")) && !text.contains("SECRET"), "{text}");
        }
    }

    #[test]
    fn each_member_of_a_profile_is_an_option_of_the_commands_that_call_a_server() {
        use clap::Args as _;
        let command = crate::cli::client::ClientArgs::augment_args(Command::new("list"));
        let profile = Profile {
            server: Some("http://h".into()),
            ca: Some("a".into()),
            cert: Some("c".into()),
            cert_key: Some("ck".into()),
            key_file: Some("k".into()),
        };
        let applied = profile.applied(command.mut_args(|arg| arg.env(None::<&'static str>)));
        let default = |id: &str| {
            let arg = applied.get_arguments().find(|arg| arg.get_id() == id).unwrap();
            arg.get_default_values().first().map(|value| value.to_str().unwrap().to_owned())
        };
        let defaults = ["server", "ca", "cert", "cert_key", "key"].map(|id| default(id).unwrap());
        assert_eq!(defaults, ["http://h", "a", "c", "ck", "k"]);
    }
}
