//! Every option of `runlog serve`: default, range, flag and `RUNLOG_*` variable.
//!
//! The name of a number carries the unit. The parser checks the range of each option; [`ServeOptions::validate`] checks
//! options against each other.

mod memory;
mod store;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Command, FromArgMatches, ValueEnum};

use crate::domain::projection::Lifecycle;
use crate::domain::{Limits, View};

pub use memory::{CALL_BYTES, CONNECTION_BYTES, CONNECTIONS_AT_LEAST, MemoryShares};
pub use store::{StoreOptions, StoreUrl};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Format of the log on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Readable lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Treatment of an event that would change the final status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LifecycleOption {
    /// The event is stored; the status of the run stays.
    Record,
    /// The event is refused with FAILED_PRECONDITION.
    Strict,
}

/// How the servers on one PostgreSQL database learn of each other's commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NotifyOption {
    /// By LISTEN and NOTIFY, and by polling in case a notification is lost.
    On,
    /// By polling only, for poolers that do not support LISTEN.
    Off,
}

/// View of payloads in the JSON gateway for requests without `view`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ViewOption {
    /// The public view: no client-supplied members, tool input and output in short.
    Public,
    /// The payload with all members.
    Full,
}

/// The options of `runlog serve`. [`Default`] holds the values of an empty command line in an empty environment.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// Address and port to listen on; port 0 takes a free port, which is logged.
    #[arg(long, env = "RUNLOG_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7800")]
    pub listen: SocketAddr,
    /// Address and port of a listener of its own for those who run the server: `/metrics`, `/openapi.json`, gRPC reflection and
    /// health, and no events. `--listen` then serves health and events only.
    #[arg(long, env = "RUNLOG_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<SocketAddr>,
    /// The SQLite file or the PostgreSQL database; other commands that open a store have the same options.
    #[command(flatten)]
    pub store: StoreOptions,
    /// Serve an address that other machines reach although there are no keys: any client that reaches the port may read and
    /// write every run.
    #[arg(long, env = "RUNLOG_INSECURE_NO_AUTH")]
    pub insecure_no_auth: bool,
    /// What becomes of an event that would change the status of a run that has ended: `record` stores it and leaves the
    /// status, `strict` refuses it with FAILED_PRECONDITION.
    #[arg(long, env = "RUNLOG_LIFECYCLE", value_enum, default_value = "record", hide_possible_values = true)]
    pub lifecycle: LifecycleOption,
    /// How the log on stderr is written: `text` for people or `json`, one object a line.
    #[arg(long, env = "RUNLOG_LOG_FORMAT", value_enum, default_value = "text", hide_possible_values = true)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or by module as in `info,runlog::store=debug`. Never payloads.
    #[arg(long, env = "RUNLOG_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// Memory that the server may take, bytes (192 MiB to 1 TiB), shared out to the queues, to requests, to answers, to recent
    /// events, to connections and to calls; the program itself takes up to 64 MiB more. Where it is not given: half of
    /// the machine's or the control group's.
    #[arg(long, env = "RUNLOG_MAX_MEMORY_BYTES", value_name = "BYTES", value_parser = within(192 * MIB..=1_024 * GIB))]
    pub max_memory_bytes: Option<usize>,

    /// Largest payload of one event, bytes of JSON text (2 to 64 MiB).
    #[arg(long, env = "RUNLOG_MAX_PAYLOAD_BYTES", help_heading = "Limits of a request", default_value = "1048576",
          value_parser = within(2..=64 * MIB))]
    pub max_payload_bytes: usize,
    /// Largest request message, bytes (1 KiB to 256 MiB); at least --max-payload-bytes.
    #[arg(long, env = "RUNLOG_MAX_REQUEST_BYTES", help_heading = "Limits of a request", default_value = "4194304",
          value_parser = within(KIB..=256 * MIB))]
    pub max_request_bytes: usize,
    /// Most events in one publish (1 to 100,000).
    #[arg(long, env = "RUNLOG_MAX_REQUEST_EVENTS", help_heading = "Limits of a request", default_value = "1000",
          value_parser = within(1..=100_000))]
    pub max_request_events: usize,
    /// Deepest nesting of a payload's objects and arrays (1 to 100).
    #[arg(long, env = "RUNLOG_MAX_JSON_DEPTH", help_heading = "Limits of a request", default_value = "64",
          value_parser = within(1..=100))]
    pub max_json_depth: usize,
    /// Most events or runs in one page, and events in one frame (1 to 10,000); a request for more is refused.
    #[arg(long, env = "RUNLOG_MAX_PAGE_SIZE", help_heading = "Limits of a request", default_value = "1000",
          value_parser = within(1..=10_000))]
    pub max_page_size: usize,

    /// Most events that wait for a commit (1 to 10,000,000); at least --max-request-events.
    #[arg(long, env = "RUNLOG_PUBLISH_QUEUE_EVENTS", help_heading = "Writing", default_value = "65536",
          value_parser = within(1..=10_000_000))]
    pub publish_queue_events: usize,
    /// Most bytes that wait for a commit (1 KiB to 16 GiB); at least --max-request-bytes.
    #[arg(long, env = "RUNLOG_PUBLISH_QUEUE_BYTES", help_heading = "Writing", default_value = "67108864",
          value_parser = within(KIB..=16 * GIB))]
    pub publish_queue_bytes: usize,
    /// How long a publish waits for room in a full queue before it is answered RESOURCE_EXHAUSTED, milliseconds (0 to
    /// 60,000).
    #[arg(long, env = "RUNLOG_PUBLISH_WAIT_MS", help_heading = "Writing", default_value = "5000",
          value_parser = within_ms(0..=60_000))]
    pub publish_wait_ms: u64,
    /// Most events in one transaction (1 to 1,000,000); a larger publish has one of its own.
    #[arg(long, env = "RUNLOG_MAX_COMMIT_EVENTS", help_heading = "Writing", default_value = "4096",
          value_parser = within(1..=1_000_000))]
    pub max_commit_events: usize,
    /// Most bytes in one transaction (1 KiB to 1 GiB); a larger publish has one of its own.
    #[arg(long, env = "RUNLOG_MAX_COMMIT_BYTES", help_heading = "Writing", default_value = "4194304",
          value_parser = within(KIB..=GIB))]
    pub max_commit_bytes: usize,
    /// How much of the end of the log of a SQLite file waits to be moved into the indexes, entries of one run and one
    /// transaction (1 to 1,000,000): what a start has to read.
    #[arg(long, env = "RUNLOG_FLUSH_ENTRIES", help_heading = "Writing", default_value = "16384",
          value_parser = within(1..=1_000_000))]
    pub flush_entries: usize,
    /// Most of these entries that are moved between two transactions (1 to 4,000): less waits shorter, more moves faster.
    #[arg(long, env = "RUNLOG_FLUSH_SLICE_ENTRIES", help_heading = "Writing", default_value = "512",
          value_parser = within(1..=4_000))]
    pub flush_slice_entries: usize,

    /// Recent events kept in memory for each run that is followed, bytes (1 KiB to 1 GiB); who lags further reads the store.
    #[arg(long, env = "RUNLOG_HUB_WINDOW_BYTES", help_heading = "Reading and following", default_value = "4194304",
          value_parser = within(KIB..=GIB))]
    pub hub_window_bytes: usize,
    /// Recent events kept in memory for each run that is followed (1 to 1,000,000).
    #[arg(long, env = "RUNLOG_HUB_WINDOW_EVENTS", help_heading = "Reading and following", default_value = "4096",
          value_parser = within(1..=1_000_000))]
    pub hub_window_events: usize,
    /// Largest frame of a subscription, bytes (1 KiB to 64 MiB); a larger event has one of its own.
    #[arg(long, env = "RUNLOG_MAX_BATCH_BYTES", help_heading = "Reading and following", default_value = "524288",
          value_parser = within(KIB..=64 * MIB))]
    pub max_batch_bytes: usize,
    /// Events that replaying subscriptions may have read before they are sent, of all together, bytes (0 to 16 GiB): 4 MiB for
    /// each that finds room; the others read one frame at a time.
    #[arg(long, env = "RUNLOG_READ_AHEAD_BYTES", help_heading = "Reading and following", default_value = "67108864",
          value_parser = within(0..=16 * GIB))]
    pub read_ahead_bytes: usize,
    /// Most subscriptions at a time (1 to 1,000,000).
    #[arg(long, env = "RUNLOG_MAX_SUBSCRIPTIONS", help_heading = "Reading and following", default_value = "20000",
          value_parser = within(1..=1_000_000))]
    pub max_subscriptions: usize,
    /// How long a subscription may be silent before a heartbeat, where its request does not say, milliseconds (1,000 to
    /// 300,000).
    #[arg(long, env = "RUNLOG_HEARTBEAT_MS", help_heading = "Reading and following", default_value = "10000",
          value_parser = within_ms(1_000..=300_000))]
    pub heartbeat_ms: u64,
    /// How long an event stream of the JSON gateway may be silent before it says `: hb`, milliseconds (1,000 to 300,000).
    #[arg(long, env = "RUNLOG_SSE_HEARTBEAT_MS", help_heading = "Reading and following", default_value = "5000",
          value_parser = within_ms(1_000..=300_000))]
    pub sse_heartbeat_ms: u64,
    /// How much of each payload the JSON gateway shows where a request has no `view`: `public` leaves client-supplied members
    /// out and shows tool input and output in short with secrets masked, `full` shows all.
    #[arg(
        long,
        env = "RUNLOG_DEFAULT_VIEW",
        help_heading = "Reading and following",
        value_enum,
        default_value = "public",
        hide_possible_values = true
    )]
    pub default_view: ViewOption,
    /// Connections to the SQLite file for readers (1 to 64).
    #[arg(long, env = "RUNLOG_READ_CONNECTIONS", help_heading = "Reading and following", default_value = "4",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub read_connections: u32,
    /// How fast the log is read over and over to find damage before a reader does, bytes a second (0 to 1 GiB); 0: not at all.
    #[arg(long, env = "RUNLOG_SCRUB_BYTES_PER_SECOND", help_heading = "Reading and following", default_value = "0",
          value_parser = within(0..=GIB))]
    pub scrub_bytes_per_second: usize,

    /// Connections to PostgreSQL for readers (1 to 1,000); the server has three more to write, to follow and to listen.
    #[arg(long, env = "RUNLOG_PG_POOL_SIZE", help_heading = "PostgreSQL", default_value = "8",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub pg_pool_size: u32,
    /// Whether servers announce commits to each other with LISTEN and NOTIFY: `on`, or `off` behind a pooler that gives out
    /// connections by the transaction. Then the feed is only polled.
    #[arg(
        long,
        env = "RUNLOG_NOTIFY",
        help_heading = "PostgreSQL",
        value_enum,
        default_value = "on",
        hide_possible_values = true
    )]
    pub notify: NotifyOption,
    /// How often PostgreSQL is asked for commits of other servers, milliseconds (10 to 60,000). With --notify=on this is
    /// the net under lost signals, with off it is the delay.
    #[arg(long, env = "RUNLOG_POLL_MS", help_heading = "PostgreSQL", default_value = "1000",
          value_parser = within_ms(10..=60_000))]
    pub poll_ms: u64,

    /// How long a connection may be silent before it is pinged, milliseconds (1,000 to 3,600,000).
    #[arg(long, env = "RUNLOG_KEEPALIVE_INTERVAL_MS", help_heading = "Connections", default_value = "30000",
          value_parser = within_ms(1_000..=3_600_000))]
    pub keepalive_interval_ms: u64,
    /// How long a ping may stay unanswered before its connection is closed, milliseconds (100 to 600,000).
    #[arg(long, env = "RUNLOG_KEEPALIVE_TIMEOUT_MS", help_heading = "Connections", default_value = "10000",
          value_parser = within_ms(100..=600_000))]
    pub keepalive_timeout_ms: u64,
    /// Most calls at a time on one connection, subscriptions included (1 to 1,000,000).
    #[arg(long, env = "RUNLOG_MAX_CONCURRENT_STREAMS", help_heading = "Connections", default_value = "1024",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_concurrent_streams: u32,
    /// HTTP/2 window of one call, bytes (64 KiB to 1 GiB): what a client may send before it is read.
    #[arg(long, env = "RUNLOG_STREAM_WINDOW_BYTES", help_heading = "Connections", default_value = "1048576",
          value_parser = clap::value_parser!(u32).range(65_535..=1 << 30))]
    pub stream_window_bytes: u32,
    /// HTTP/2 window of one connection, bytes (64 KiB to 1 GiB); at least --stream-window-bytes.
    #[arg(long, env = "RUNLOG_CONNECTION_WINDOW_BYTES", help_heading = "Connections", default_value = "4194304",
          value_parser = clap::value_parser!(u32).range(65_535..=1 << 30))]
    pub connection_window_bytes: u32,
    /// Names by which the server may be called besides `localhost` and loopback addresses, such as `runlog.internal` or
    /// `runlog.internal:7800`, separated by commas; `*` for any. On an address that other machines reach any name is
    /// answered to unless some are listed.
    #[arg(long, env = "RUNLOG_ALLOWED_HOSTS", help_heading = "Connections", value_name = "HOSTS", value_delimiter = ',',
          value_parser = allowed_host)]
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may call the JSON gateway, such as `https://app.example.com`, separated by commas; `*` for any,
    /// none by default.
    #[arg(long, env = "RUNLOG_CORS_ORIGINS", help_heading = "Connections", value_name = "ORIGINS", value_delimiter = ',',
          value_parser = cors_origin)]
    pub cors_origins: Vec<String>,
    /// How long a call that is no stream may take, milliseconds (100 to 600,000); at least --publish-wait-ms.
    #[arg(long, env = "RUNLOG_REQUEST_TIMEOUT_MS", help_heading = "Connections", default_value = "30000",
          value_parser = within_ms(100..=600_000))]
    pub request_timeout_ms: u64,
    /// How long a request may stand still while it is sent, and a connection whose client takes nothing of what it asked for,
    /// milliseconds (1,000 to 3,600,000). A client that takes a little goes on.
    #[arg(long, env = "RUNLOG_STALL_TIMEOUT_MS", help_heading = "Connections", default_value = "60000",
          value_parser = within_ms(1_000..=3_600_000))]
    pub stall_timeout_ms: u64,
    /// How long calls may go on after SIGTERM or SIGINT before they are cut, milliseconds (0 to 600,000).
    #[arg(long, env = "RUNLOG_DRAIN_TIMEOUT_MS", help_heading = "Connections", default_value = "10000",
          value_parser = within_ms(0..=600_000))]
    pub drain_timeout_ms: u64,
    /// Most connections at a time (1 to 1,000,000); more wait to be accepted.
    #[arg(long, env = "RUNLOG_MAX_CONNECTIONS", help_heading = "Connections", default_value = "20000",
          value_parser = within(1..=1_000_000))]
    pub max_connections: usize,
    /// Most connections of one address at a time (1 to 1,000,000), of IPv6 of one network of 64 bits; more are closed. Where it
    /// is not given: half of --max-connections. Behind a proxy from whose address all come give as many as those.
    #[arg(long, env = "RUNLOG_MAX_CONNECTIONS_PER_ADDRESS", help_heading = "Connections", value_name = "CONNECTIONS",
          value_parser = within(1..=1_000_000))]
    pub max_connections_per_address: Option<usize>,
}

/// Options that contradict each other. The text names the options and the change to make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOptions(String);

impl ServeOptions {
    /// Checks options that depend on each other.
    ///
    /// # Errors
    /// The address is not a loopback address and `insecure_no_auth` is not set, the store is not a PostgreSQL URL, a limit is
    /// lower than another that has to fit into the first, or the queues leave too little memory.
    pub fn validate(&self) -> Result<(), InvalidOptions> {
        if !self.listen.ip().to_canonical().is_loopback() && !self.insecure_no_auth {
            return Err(InvalidOptions(format!(
                "--listen {} is not a loopback address, and there are no keys yet: anyone who reaches the port could read \
                 and write every run; listen on 127.0.0.1 behind a proxy that authenticates, or accept the risk with \
                 --insecure-no-auth",
                self.listen
            )));
        }
        self.store.validate()?;
        let payload = ("--max-payload-bytes", self.max_payload_bytes as u64);
        let request = ("--max-request-bytes", self.max_request_bytes as u64);
        let events = ("--max-request-events", self.max_request_events as u64);
        let queue_bytes = ("--publish-queue-bytes", self.publish_queue_bytes as u64);
        let queue_events = ("--publish-queue-events", self.publish_queue_events as u64);
        let stream_window = ("--stream-window-bytes", u64::from(self.stream_window_bytes));
        let connection_window = ("--connection-window-bytes", u64::from(self.connection_window_bytes));
        at_most(payload, request, "a request holds at least one payload")?;
        at_most(request, queue_bytes, "a request must fit into the empty queue")?;
        at_most(events, queue_events, "a request must fit into the empty queue")?;
        at_most(stream_window, connection_window, "one call must be able to use its window")?;
        let wait = ("--publish-wait-ms", self.publish_wait_ms);
        at_most(wait, ("--request-timeout-ms", self.request_timeout_ms), "a publish must be able to wait")?;
        self.memory_shares().map(drop)
    }

    /// Limits of one request, for the domain.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            max_payload_bytes: self.max_payload_bytes,
            max_request_bytes: self.max_request_bytes,
            max_request_events: self.max_request_events,
            max_json_depth: self.max_json_depth,
            max_page_size: self.max_page_size,
        }
    }

    /// View of payloads in the JSON gateway for requests without `view`.
    #[must_use]
    pub fn default_view(&self) -> View {
        match self.default_view {
            ViewOption::Public => View::Public,
            ViewOption::Full => View::Full,
        }
    }

    /// Treatment of an event that would change the final status of a run.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        match self.lifecycle {
            LifecycleOption::Record => Lifecycle::Record,
            LifecycleOption::Strict => Lifecycle::Strict,
        }
    }

    /// How long a publish waits for room in a full queue.
    #[must_use]
    pub fn publish_wait(&self) -> Duration {
        Duration::from_millis(self.publish_wait_ms)
    }

    /// Default silence of a subscription before a heartbeat.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(self.heartbeat_ms)
    }

    /// Silence of an event stream of the JSON gateway before a heartbeat.
    #[must_use]
    pub fn sse_heartbeat(&self) -> Duration {
        Duration::from_millis(self.sse_heartbeat_ms)
    }

    /// Silence of a connection before a ping.
    #[must_use]
    pub fn keepalive_interval(&self) -> Duration {
        Duration::from_millis(self.keepalive_interval_ms)
    }

    /// How long a ping may stay unanswered.
    #[must_use]
    pub fn keepalive_timeout(&self) -> Duration {
        Duration::from_millis(self.keepalive_timeout_ms)
    }

    /// How long a call that is no stream may take.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// How long calls may go on after the shutdown signal.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}

impl Default for ServeOptions {
    #[expect(clippy::expect_used, reason = "defaults are constants, and a test parses them")]
    fn default() -> Self {
        let command = Self::augment_args(Command::new("serve")).mut_args(|arg| arg.env(None::<&'static str>));
        Self::from_arg_matches(&command.get_matches_from(["serve"]))
            .expect("every option has a default that its own parser takes")
    }
}

fn at_most(small: (&str, u64), large: (&str, u64), why: &str) -> Result<(), InvalidOptions> {
    if small.1 <= large.1 {
        return Ok(());
    }
    let ((small, low), (large, high)) = (small, large);
    Err(InvalidOptions(format!(
        "{small} {low} is more than {large} {high}: {why}; lower the first or raise the second"
    )))
}

fn allowed_host(text: &str) -> Result<String, String> {
    let is_host = text.parse::<http::uri::Authority>().is_ok_and(|host| !host.host().is_empty() && !text.contains('@'));
    if text == "*" || is_host { Ok(text.to_owned()) } else { Err("such as runlog.internal, or *".to_owned()) }
}

fn cors_origin(text: &str) -> Result<String, String> {
    let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
        matches!(scheme, "http" | "https")
            && !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
    });
    if text == "*" || is_origin { Ok(text.to_owned()) } else { Err("such as https://app.example.com, or *".to_owned()) }
}

fn within(range: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(range)
}

fn within_ms(range: RangeInclusive<u64>) -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_DEFAULT: [&str; 7] = [
        "admin-listen",
        "insecure-no-auth",
        "allowed-hosts",
        "cors-origins",
        "max-connections-per-address",
        "max-memory-bytes",
        "store",
    ];

    fn parse(args: &[&str]) -> Result<ServeOptions, clap::Error> {
        let command = ServeOptions::augment_args(Command::new("serve")).mut_args(|arg| arg.env(None::<&'static str>));
        let matches = command.try_get_matches_from([&["serve"], args].concat())?;
        ServeOptions::from_arg_matches(&matches)
    }

    fn refusal(args: &[&str]) -> String {
        parse(args).unwrap().validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid_and_those_of_the_domain() {
        let options = ServeOptions::default();
        options.validate().unwrap();
        let (ours, domain) = (options.limits(), Limits::default());
        assert_eq!(format!("{ours:?}"), format!("{domain:?}"));
        assert_eq!(options.lifecycle(), Lifecycle::default());
        assert_eq!(options.listen.to_string(), "127.0.0.1:7800");
    }

    #[test]
    fn an_address_that_others_reach_needs_the_word_insecure() {
        for address in ["0.0.0.0:7800", "[::]:7800", "10.1.2.3:1", "[::ffff:10.1.2.3]:1"] {
            let text = refusal(&["--listen", address]);
            assert!(text.contains("--insecure-no-auth") && text.contains("no keys"), "{text}");
            parse(&["--listen", address, "--insecure-no-auth"]).unwrap().validate().unwrap();
        }
        for address in ["127.0.0.1:0", "[::1]:0", "127.8.8.8:1", "[::ffff:127.0.0.1]:1"] {
            parse(&["--listen", address]).unwrap().validate().unwrap();
        }
    }

    #[test]
    fn bounds_that_contradict_each_other_are_refused_by_name() {
        let text = refusal(&["--max-payload-bytes", "4194305"]);
        assert!(text.contains("--max-payload-bytes 4194305 is more than --max-request-bytes 4194304"), "{text}");
        assert!(refusal(&["--publish-queue-bytes", "4096"]).contains("--publish-queue-bytes 4096"));
        assert!(refusal(&["--publish-queue-events", "999"]).contains("--max-request-events 1000"));
        assert!(refusal(&["--connection-window-bytes", "65535"]).contains("--stream-window-bytes"));
        assert!(refusal(&["--publish-wait-ms", "50000"]).contains("--request-timeout-ms 30000"));
    }

    #[test]
    fn a_store_is_a_postgresql_url_and_is_never_printed() {
        parse(&["--store", "postgres://u:secret@h/d"]).unwrap().validate().unwrap();
        for bad in ["mysql://u:secret@h/d", "secret", "postgres:secret"] {
            let options = parse(&["--store", bad]).unwrap();
            let text = format!("{} {options:?}", options.validate().unwrap_err());
            assert!(text.contains("--store") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_number_out_of_its_range_is_a_usage_error() {
        for bad in [["--max-json-depth", "101"], ["--heartbeat-ms", "999"], ["--read-connections", "0"]] {
            assert!(parse(&bad).unwrap_err().to_string().contains(bad[0]), "{bad:?}");
        }
    }

    #[test]
    fn the_help_lists_each_option_with_its_variable_and_its_default() {
        let mut command = ServeOptions::augment_args(Command::new("serve").term_width(0));
        let help = command.render_long_help().to_string();
        for arg in ServeOptions::augment_args(Command::new("serve")).get_arguments() {
            let long = arg.get_long().unwrap();
            let variable = format!("RUNLOG_{}", long.replace('-', "_").to_uppercase());
            assert!(help.contains(&format!("--{long}")), "{long}");
            assert!(help.contains(&format!("[env: {variable}")), "{variable}");
            assert!(!arg.get_default_values().is_empty() || NO_DEFAULT.contains(&long), "{long}");
            assert!(arg.get_help().is_some_and(|help| !help.to_string().is_empty()), "{long}");
        }
    }
}
