//! Every option of `runlog serve`: default, range, flag and `RUNLOG_*` variable.
//!
//! The name of a number carries the unit. The parser checks the range of each option; [`ServeOptions::validate`] checks
//! options against each other.

mod access;
mod connections;
mod keeping;
mod limits;
mod listen;
mod memory;
mod postgres;
mod rates;
mod reading;
mod store;
mod tls;
mod writing;

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::builder::{RangedU64ValueParser, TypedValueParser};
use clap::{Args, Command, FromArgMatches, ValueEnum};

use crate::domain::projection::Lifecycle;
use crate::domain::{Limits, View};

pub use access::{AccessOptions, AuthOption, KeyText, OpenRouteOption};
pub use connections::ConnectionOptions;
pub use keeping::{KeepOptions, Rule};
pub use limits::LimitOptions;
pub use listen::ListenAddresses;
pub use memory::{CALL_BYTES, CONNECTIONS_AT_LEAST, MemoryShares};
pub use postgres::PostgresOptions;
pub use rates::RateOptions;
pub use reading::ReadOptions;
pub use store::{StoreOptions, StoreUrl};
pub use tls::TlsOptions;
pub use writing::{CheckpointOption, FinishOption, WriteOptions};

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

/// Whether the server serves the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConsoleOption {
    /// The console is at `/`.
    On,
    /// There is no page.
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
    /// Address and port to listen on, or a name and a port for all addresses of the name; port 0 takes a free port, which is
    /// logged.
    #[arg(long, env = "RUNLOG_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7800")]
    pub listen: ListenAddresses,
    /// Address and port of a separate listener for operators: `/metrics`, `/openapi.json`, gRPC reflection and health, and no
    /// events. `--listen` then serves events, the console and health only. With --tls-cert it speaks TLS as `--listen` does.
    #[arg(long, env = "RUNLOG_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<ListenAddresses>,
    /// The console at `/` of --listen, a page that shows runs live in a browser: `on` or `off`. Its files need no key; what it
    /// shows does.
    #[arg(long, env = "RUNLOG_CONSOLE", value_enum, default_value = "on", hide_possible_values = true)]
    pub console: ConsoleOption,
    /// The SQLite file or the PostgreSQL database; other commands that open a store have the same options.
    #[command(flatten)]
    pub store: StoreOptions,
    /// Treatment of an event that would change the status of an ended run: `record` stores the event and keeps the status,
    /// `strict` refuses the event with FAILED_PRECONDITION.
    #[arg(long, env = "RUNLOG_LIFECYCLE", value_enum, default_value = "record", hide_possible_values = true)]
    pub lifecycle: LifecycleOption,
    /// How the log on stderr is written: `text` for people or `json`, one object a line.
    #[arg(long, env = "RUNLOG_LOG_FORMAT", value_enum, default_value = "text", hide_possible_values = true)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or by module as in `info,runlog::store=debug`. Never payloads.
    #[arg(long, env = "RUNLOG_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Memory that the server may take, bytes (192 MiB to 1 TiB), shared out to the queues, to requests, to answers, to recent
    /// events, to connections and to calls; the program itself takes up to 64 MiB more. By default half of the
    /// memory of the machine or the control group.
    #[arg(long, env = "RUNLOG_MAX_MEMORY_BYTES", value_name = "BYTES", value_parser = within(192 * MIB..=1_024 * GIB))]
    pub max_memory_bytes: Option<usize>,

    /// Keys and the routes that need none.
    #[command(flatten)]
    pub access: AccessOptions,
    /// Limits of one key, and of one address before its key is known.
    #[command(flatten)]
    pub rates: RateOptions,
    /// Limits of one request.
    #[command(flatten)]
    pub limits: LimitOptions,
    /// The path of a publish to its commit.
    #[command(flatten)]
    pub writing: WriteOptions,
    /// How long events are kept.
    #[command(flatten)]
    pub keeping: KeepOptions,
    /// Pages, subscriptions and the recent events in memory.
    #[command(flatten)]
    pub reading: ReadOptions,
    /// Several servers on one PostgreSQL database.
    #[command(flatten)]
    pub postgres: PostgresOptions,
    /// Connections, calls and the origins that may make them.
    #[command(flatten)]
    pub connections: ConnectionOptions,
    /// TLS of the listeners.
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// Options that contradict each other. The text names the options and the change to make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOptions(String);

impl ServeOptions {
    /// Checks options that depend on each other.
    ///
    /// # Errors
    /// Keys are off on an address that other machines reach, the file of the first key has none, the store is not a PostgreSQL
    /// URL, an option of TLS is missing, a limit is lower than another that has to fit into the first, or the queues leave too little memory.
    pub fn validate(&self) -> Result<(), InvalidOptions> {
        self.access.validate(self.is_loopback())?;
        self.store.validate()?;
        self.keeping.validate()?;
        self.tls.validate([("--listen", Some(&self.listen)), ("--admin-listen", self.admin_listen.as_ref())])?;
        let payload = ("--max-payload-bytes", self.limits.max_payload_bytes as u64);
        let request = ("--max-request-bytes", self.limits.max_request_bytes as u64);
        let events = ("--max-request-events", self.limits.max_request_events as u64);
        let queue_bytes = ("--publish-queue-bytes", self.writing.publish_queue_bytes as u64);
        let queue_events = ("--publish-queue-events", self.writing.publish_queue_events as u64);
        let stream_window = ("--stream-window-bytes", u64::from(self.connections.stream_window_bytes));
        let connection_window = ("--connection-window-bytes", u64::from(self.connections.connection_window_bytes));
        at_most(payload, request, "a request holds at least one payload")?;
        at_most(request, queue_bytes, "a request must fit into the empty queue")?;
        at_most(events, queue_events, "a request must fit into the empty queue")?;
        at_most(stream_window, connection_window, "one call must be able to use its window")?;
        let wait = ("--publish-wait-ms", as_millis(self.writing.publish_wait));
        at_most(
            wait,
            ("--request-timeout-ms", as_millis(self.connections.request_timeout)),
            "a publish must be able to wait",
        )?;
        let coalesce = ("--coalesce-deltas-ms", as_millis(self.writing.coalesce_deltas));
        let half_of_call = ("half of --request-timeout-ms,", as_millis(self.connections.request_timeout / 2));
        at_most(coalesce, half_of_call, "deltas that waited must be stored within the time of their call")?;
        self.memory_shares().map(drop)
    }

    /// Whether only this machine reaches the addresses of `--listen`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.listen.are_loopback()
    }

    /// Whether the server serves the console.
    #[must_use]
    pub fn has_console(&self) -> bool {
        self.console == ConsoleOption::On
    }

    /// Limits of one request, for the domain.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            max_payload_bytes: self.limits.max_payload_bytes,
            max_request_bytes: self.limits.max_request_bytes,
            max_request_events: self.limits.max_request_events,
            max_json_depth: self.limits.max_json_depth,
            max_page_size: self.limits.max_page_size,
        }
    }

    /// View of payloads in the JSON gateway for requests without `view`.
    #[must_use]
    pub fn default_view(&self) -> View {
        match self.reading.default_view {
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
}

impl Default for ServeOptions {
    #[expect(clippy::expect_used, reason = "defaults are constants, and a test parses them")]
    fn default() -> Self {
        let command = Self::augment_args(Command::new("serve")).mut_args(|arg| arg.env(None::<&'static str>));
        Self::from_arg_matches(&command.get_matches_from(["serve"]))
            .expect("every option has a default that its own parser takes")
    }
}

/// Whole milliseconds, as options and logs give durations.
pub(crate) fn as_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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

fn millis(range: RangeInclusive<u64>) -> impl TypedValueParser<Value = Duration> {
    RangedU64ValueParser::<u64>::new().range(range).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_DEFAULT: [&str; 20] = [
        "admin-key",
        "admin-key-file",
        "admin-listen",
        "insecure-no-auth",
        "insecure-no-tls",
        "allowed-hosts",
        "compact-deltas-after",
        "cors-origins",
        "key-streams",
        "max-connections-per-address",
        "max-memory-bytes",
        "open-routes",
        "retain-bytes",
        "retain-for",
        "retain-status",
        "retain-type",
        "store",
        "tls-cert",
        "tls-key",
        "tls-client-ca",
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
    fn an_address_that_others_reach_needs_keys_and_tls_or_the_word_insecure() {
        let mode = |args: &[&str]| {
            let options = parse(args).unwrap();
            options.validate().unwrap();
            options.access.auth(options.is_loopback())
        };
        for address in ["0.0.0.0:7800", "[::]:7800", "10.1.2.3:1", "[::ffff:10.1.2.3]:1"] {
            let text = refusal(&["--listen", address]);
            assert!(text.contains("--tls-cert") && text.contains("--insecure-no-tls"), "{text}");
            parse(&["--listen", address, "--tls-cert", "c", "--tls-key", "k"]).unwrap().validate().unwrap();
            let listen = ["--insecure-no-tls", "--listen", address];
            let with = |more: &[&'static str]| [&listen[..], more].concat();
            assert_eq!(mode(&listen), AuthOption::Required);
            assert_eq!(mode(&with(&["--insecure-no-auth"])), AuthOption::Auto);
            let text = refusal(&with(&["--auth", "off"]));
            assert!(text.contains("--insecure-no-auth") && text.contains("--auth off"), "{text}");
            assert_eq!(mode(&with(&["--auth", "off", "--insecure-no-auth"])), AuthOption::Off);
        }
        for address in ["127.0.0.1:0", "[::1]:0", "127.8.8.8:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(mode(&["--listen", address]), AuthOption::Auto);
            assert_eq!(mode(&["--listen", address, "--auth", "required"]), AuthOption::Required);
            assert_eq!(mode(&["--listen", address, "--auth", "off"]), AuthOption::Off);
        }
    }

    #[test]
    fn a_first_key_that_is_none_is_refused_by_the_name_of_its_source_and_never_printed() {
        let options = parse(&["--admin-key", "key_a:short"]).unwrap();
        let text = format!("{} {options:?}", options.validate().unwrap_err());
        assert!(text.contains("RUNLOG_ADMIN_KEY") && !text.contains("short"), "{text}");
        assert!(refusal(&["--admin-key-file", "/nowhere"]).contains("--admin-key-file /nowhere"));
    }

    #[test]
    fn bounds_that_contradict_each_other_are_refused_by_name() {
        let text = refusal(&["--max-payload-bytes", "4194305"]);
        assert!(text.contains("--max-payload-bytes 4194305 is more than --max-request-bytes 4194304"), "{text}");
        assert!(refusal(&["--publish-queue-bytes", "4096"]).contains("--publish-queue-bytes 4096"));
        assert!(refusal(&["--publish-queue-events", "999"]).contains("--max-request-events 1000"));
        assert!(refusal(&["--connection-window-bytes", "65535"]).contains("--stream-window-bytes"));
        assert!(refusal(&["--publish-wait-ms", "50000"]).contains("--request-timeout-ms 30000"));
        let short = ["--publish-wait-ms", "0", "--request-timeout-ms", "900", "--coalesce-deltas-ms", "451"];
        let text = refusal(&short);
        assert!(text.contains("--coalesce-deltas-ms 451 is more than half of --request-timeout-ms, 450"), "{text}");
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
    fn tls_has_a_certificate_and_its_key() {
        assert!(refusal(&["--tls-cert", "c"]).contains("--tls-cert needs --tls-key"));
        assert!(refusal(&["--tls-key", "k"]).contains("--tls-key needs --tls-cert"));
        assert!(refusal(&["--tls-client-ca", "a"]).contains("--tls-client-ca needs --tls-cert"));
        let both = parse(&["--tls-cert", "c", "--tls-key", "k", "--tls-client-ca", "a"]).unwrap();
        both.validate().unwrap();
        let plain = ServeOptions::default();
        assert!(both.tls.is_on() && !plain.tls.is_on());
        let (most, of) = (1_000_000, |options: &ServeOptions| options.connections_in(&plain.memory_shares().unwrap()));
        let many = |mut options: ServeOptions| {
            options.connections.max_connections = most;
            of(&options)
        };
        assert!(many(both) < many(plain.clone()), "a connection with TLS takes more memory");
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
