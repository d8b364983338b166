//! The key of the client, sent with every call.

use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;

use crate::cli::outcome::{Exit, Failure};
use crate::config::KeyText;

/// The key for servers that ask for one.
#[derive(Clone, Debug, Default, Args)]
pub struct KeyArgs {
    /// A file with the key to send, as `runlog keys create` prints it; RUNLOG_KEY holds the key itself in place of a file
    #[arg(long, env = "RUNLOG_KEY_FILE", value_name = "FILE", help_heading = "Server")]
    pub key: Option<PathBuf>,
    /// For the variable only: other users of the machine see command lines
    #[arg(long = "key-text", env = "RUNLOG_KEY", hide_env_values = true, hide = true, help_heading = "Server")]
    pub key_text: Option<KeyText>,
}

impl KeyArgs {
    /// The key in the variable RUNLOG_KEY, for a client without options.
    pub fn of_environment() -> Self {
        Self { key: None, key_text: std::env::var("RUNLOG_KEY").ok().filter(|key| !key.is_empty()).map(KeyText::from) }
    }

    /// The header of every call; `None` without a key.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        let key = match (&self.key, &self.key_text) {
            (Some(file), _) => KeyText::from(read(file)?),
            (None, Some(text)) => text.clone(),
            (None, None) => return Ok(None),
        };
        let no_key = || {
            let source = if self.key.is_some() { "--key" } else { "RUNLOG_KEY" };
            Failure::new(Exit::Usage, format!("{source}: no key; it looks like key_<id>:<secret>"))
                .hint("`runlog keys create` makes one")
        };
        key.credential().map_err(|_| no_key())?;
        let mut header = HeaderValue::try_from(format!("Bearer {}", key.expose().trim())).map_err(|_| no_key())?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        if KeyText::from(file.display().to_string()).credential().is_ok() {
            // Not printed: somebody gave the key itself.
            return Failure::new(Exit::Usage, "--key takes a file with the key, not the key")
                .hint("RUNLOG_KEY takes the key; other users of the machine see command lines");
        }
        Failure::of_file("--key", file, &error)
    })
}

/// A connection whose calls carry the key.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    authorization: Option<HeaderValue>,
}

impl Connection {
    /// The connection with this header on every call.
    pub(super) fn new(channel: Channel, authorization: Option<HeaderValue>) -> Self {
        Self { channel, authorization }
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        self.channel.call(request)
    }
}
