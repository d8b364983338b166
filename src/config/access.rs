//! Who may call: keys.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::InvalidOptions;
use crate::domain::access::{Credential, KeyProblem};

/// Whether calls need a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthOption {
    /// As soon as the store holds a key; on an address that other machines reach, always.
    Auto,
    /// Always.
    Required,
    /// Never; on loopback only.
    Off,
}

/// A route that is served without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OpenRouteOption {
    /// `/metrics`.
    Metrics,
    /// `/openapi.json`.
    Openapi,
    /// gRPC reflection.
    Reflection,
}

/// The text of a key. Never printed, not even after a parse error.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// The text, to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key in the text.
    ///
    /// # Errors
    /// The text is no key.
    pub fn credential(&self) -> Result<Credential, KeyProblem> {
        self.0.trim().parse()
    }
}

impl From<String> for KeyText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

/// Keys and the routes that need none.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub struct AccessOptions {
    /// Whether calls need a key (`runlog keys`): `auto` as soon as the store holds one, and always on an address that other
    /// machines reach; `required` always; `off` never, on loopback only. Health checks need no key.
    #[arg(long, env = "RUNLOG_AUTH", value_enum, default_value = "auto", hide_possible_values = true)]
    pub auth: AuthOption,
    /// A file with the first key of a store, as `key_<id>:<secret>`: the server stores it with the scope `admin`. The secret has
    /// 22 to 200 letters, digits, - or _; take random ones.
    #[arg(long, env = "RUNLOG_ADMIN_KEY_FILE", value_name = "FILE")]
    pub admin_key_file: Option<PathBuf>,
    /// The first key itself, in place of the file. Give it as the variable only: other users of the machine see command lines.
    #[arg(long, env = "RUNLOG_ADMIN_KEY", value_name = "KEY", hide_env_values = true, hide = true)]
    pub admin_key: Option<KeyText>,
    /// Routes that need no key, separated by commas: `metrics`, `openapi`, `reflection`.
    #[arg(
        long,
        env = "RUNLOG_OPEN_ROUTES",
        value_enum,
        value_name = "ROUTES",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    pub open_routes: Vec<OpenRouteOption>,
    /// Serve an address that other machines reach without keys, until the store holds one: any client that reaches the port may
    /// read and write every run.
    #[arg(long, env = "RUNLOG_INSECURE_NO_AUTH")]
    pub insecure_no_auth: bool,
}

impl AccessOptions {
    pub(super) fn validate(&self, is_loopback: bool) -> Result<(), InvalidOptions> {
        if self.auth == AuthOption::Off && !is_loopback && !self.insecure_no_auth {
            return Err(InvalidOptions(
                "--auth off on an address that other machines reach: any client could read and write every run; use --auth \
                 auto, or accept the risk with --insecure-no-auth"
                    .to_owned(),
            ));
        }
        if self.admin_key.is_some() && self.admin_key_file.is_some() {
            return Err(InvalidOptions("--admin-key-file and RUNLOG_ADMIN_KEY: give one of them".to_owned()));
        }
        self.admin_credential().map(drop)
    }

    /// Whether calls need a key on an address of this kind: `auto` becomes `required` where other machines reach it.
    #[must_use]
    pub fn auth(&self, is_loopback: bool) -> AuthOption {
        match self.auth {
            AuthOption::Auto if !is_loopback && !self.insecure_no_auth => AuthOption::Required,
            auth => auth,
        }
    }

    /// The first key of the store, if one is given. Reads the file.
    pub fn admin_credential(&self) -> Result<Option<Credential>, InvalidOptions> {
        let (source, text) = match (&self.admin_key_file, &self.admin_key) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    // Not printed: somebody gave the key itself.
                    match KeyText::from(file.display().to_string()).credential() {
                        Ok(_) => InvalidOptions("--admin-key-file takes a file with the key, not the key".to_owned()),
                        Err(_) => InvalidOptions(format!("--admin-key-file {}: {error}", file.display())),
                    }
                })?;
                (format!("--admin-key-file {}", file.display()), text)
            }
            (None, Some(key)) => ("RUNLOG_ADMIN_KEY".to_owned(), key.0.clone()),
            (None, None) => return Ok(None),
        };
        text.trim().parse().map(Some).map_err(|_| {
            InvalidOptions(format!(
                "{source}: no key; it looks like key_<id>:<secret>, with 22 to 200 random letters, digits, - or _ as the secret"
            ))
        })
    }
}
