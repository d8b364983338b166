//! The gRPC client of the commands: server URL, timeout, TLS, transient errors.

mod key;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use tonic::transport::{Endpoint, Uri};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use super::outcome::{Exit, Failure, TOO_LARGE, of_connection, root_cause};
use crate::pb::event_service_client::EventServiceClient;
use crate::pb::run_service_client::RunServiceClient;
pub use key::{Connection, KeyArgs};
pub use tls::TlsArgs;

/// Limit of a received message, bytes: above the largest page or frame that a server sends by default.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// Interval of HTTP/2 keep-alive pings, which detect a dead connection.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The options of every command that connects to a server.
#[derive(Clone, Debug, Args)]
pub struct ClientArgs {
    /// The server; https:// for a server with TLS
    #[arg(long, env = "RUNLOG_SERVER", value_name = "URL", default_value = "http://127.0.0.1:7800",
          value_parser = server_url, help_heading = "Server")]
    pub server: Uri,
    /// How long to wait for a connection and for an answer, for instance 5s or 500ms
    #[arg(long, env = "RUNLOG_TIMEOUT", value_name = "DURATION", default_value = "30s",
          value_parser = duration, help_heading = "Server")]
    pub timeout: Duration,
    #[command(flatten)]
    pub tls: TlsArgs,
    #[command(flatten)]
    pub key: KeyArgs,
}

impl ClientArgs {
    /// Options for a server in this process, with a timeout of 10 s.
    pub fn to(server: SocketAddr) -> Result<Self, Failure> {
        let server = server_url(&server.to_string()).map_err(|problem| Failure::new(Exit::Other, problem))?;
        Ok(Self { server, timeout: Duration::from_secs(10), tls: TlsArgs::default(), key: KeyArgs::of_environment() })
    }

    /// Opens a connection with keep-alive pings, within the timeout. A server that refuses the certificate of this client does
    /// so in the answer to the first call.
    pub async fn connect(&self) -> Result<Connection, Failure> {
        let authorization = self.key.authorization()?;
        let mut endpoint = Endpoint::from(self.server.clone())
            .user_agent(concat!("runlog-cli/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Failure::new(Exit::Other, error.to_string()))?
            .connect_timeout(self.timeout)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true);
        if self.server.scheme_str() == Some("https") {
            endpoint = self.tls.apply(endpoint)?;
        }
        let cause = match tokio::time::timeout(self.timeout, endpoint.connect()).await {
            Ok(Ok(channel)) => return Ok(Connection::new(channel, authorization)),
            Ok(Err(error)) => root_cause(&error),
            Err(_) => format!("no answer within {:?}", self.timeout),
        };
        let message = format!("cannot connect to {}: {cause}", self.server);
        let started = "is a server running there? `runlog serve` starts one; --server or RUNLOG_SERVER names another";
        let (exit, hint) = of_connection(&cause).unwrap_or((Exit::Unavailable, started));
        Err(Failure::new(exit, message).hint(hint))
    }

    /// A new connection to the event service.
    pub async fn events(&self) -> Result<EventServiceClient<Connection>, Failure> {
        Ok(EventServiceClient::new(self.connect().await?).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A new connection to the run service.
    pub async fn runs(&self) -> Result<RunServiceClient<Connection>, Failure> {
        Ok(RunServiceClient::new(self.connect().await?).max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A request with the timeout as its gRPC deadline (`grpc-timeout`).
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// Waits for the response; DEADLINE_EXCEEDED after the timeout.
    pub async fn answer<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {:?}", self.timeout))),
        }
    }
}

/// Whether a retry on a new connection may succeed.
pub fn is_transient(status: &Status) -> bool {
    let source = std::error::Error::source(status);
    let of_tls = source.and_then(|source| of_connection(&root_cause(source)));
    // The certificate of this client was refused, and would be again.
    if of_tls.is_some_and(|(exit, _)| exit == Exit::Denied) {
        return false;
    }
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => true,
        Code::ResourceExhausted => status.get_details_error_info().is_none_or(|info| info.reason != TOO_LARGE),
        // A status with a source comes from this client: the connection broke.
        Code::Unknown | Code::Internal => source.is_some(),
        _ => false,
    }
}

/// Parses an http:// or https:// URL; a bare host and port is http://.
pub fn server_url(text: &str) -> Result<Uri, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = url.parse().map_err(|error| format!("{error}; it looks like http://127.0.0.1:7800"))?;
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    if !matches!(path, "" | "/") {
        return Err(format!("leave {path} out: gRPC is served at the root of a host"));
    }
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err("it looks like http://127.0.0.1:7800 or https://runlog.example.com".into()),
    }
}

/// Parses `5s`, `500ms` or `1m 30s`; a bare number is in seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    let parsed = seconds.or_else(|| text.parse::<SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()));
    match parsed {
        Some(duration) if duration <= Duration::from_secs(365 * 86_400) => Ok(duration),
        Some(_) => Err("it is more than a year".into()),
        None => Err("it looks like 5s, 500ms or 2m".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_http_url_or_a_host_and_port() {
        assert_eq!(server_url("127.0.0.1:7800").unwrap().to_string(), "http://127.0.0.1:7800/");
        assert_eq!(server_url("http://[::1]:1").unwrap().host(), Some("[::1]"));
        assert_eq!(server_url("https://h:1").unwrap().to_string(), "https://h:1/");
        for bad in ["", "http://", "https://", "ftp://h", "a b"] {
            assert!(server_url(bad).is_err(), "{bad:?}");
        }
        for (url, path) in [("http://h:1/v1", "/v1"), ("h:1/?a=1", "/?a=1"), ("https://h//", "//")] {
            assert!(server_url(url).unwrap_err().contains(&format!("leave {path} out")), "{url}");
        }
    }

    #[test]
    fn durations_have_units() {
        let millis = |text| duration(text).map(|d| d.as_millis());
        assert_eq!([millis("5"), millis("500ms"), millis("2m")], [Ok(5_000), Ok(500), Ok(120_000)]);
        for bad in ["", "-1s", "soon", "99999999h"] {
            assert!(millis(bad).is_err(), "{bad:?}");
        }
    }
}
