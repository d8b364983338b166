//! The metrics of this process: one constant for each metric, with its name, unit and help text, and the recorder behind
//! `/metrics`.

mod metric;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use metric::{Counter, Gauge, Histogram};

pub use metric::{Kind, Metric};

/// Interval at which raw histogram samples are moved into buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Histogram buckets for durations, seconds: from a read in memory to a stalled disk.
const SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

/// Histogram buckets for counts of events.
const COUNTS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

/// The recorder of this process, installed at the first call.
#[allow(clippy::must_use_candidate, reason = "a call may serve to install it")]
pub fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(install).clone()
}

/// Moves raw histogram samples into buckets at an interval, so that samples do not pile up on a server without scrapes of
/// `/metrics`. Never ends.
pub async fn upkeep() {
    let recorder = recorder();
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        recorder.run_upkeep();
    }
}

fn install() -> PrometheusHandle {
    let buckets = |builder: PrometheusBuilder, suffix: &str, values: &[f64]| {
        builder
            .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), values)
            .unwrap_or_else(|_| unreachable!("the buckets are not empty"))
    };
    let builder = buckets(PrometheusBuilder::new(), "_seconds", &SECONDS);
    let recorder = buckets(builder, "_events", &COUNTS).build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
    }
    ALL.iter().for_each(Metric::define);
    handle
}

/// Defines the constant of each metric, and the list of all.
macro_rules! metrics {
    ($($kind:ident $constant:ident = $name:literal $(by [$($label:literal),*])?, $unit:expr, $help:literal;)*) => {
        $(
            #[doc = concat!($help, ".")]
            pub const $constant: $kind = $kind(Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($($label),*)?],
                unit: $unit,
                help: $help,
            });
        )*

        /// Every metric of this process.
        pub const ALL: &[Metric] = &[$($constant.0),*];
    };
}

metrics! {
    Counter HTTP_REQUESTS = "runlog_http_requests_total" by ["method", "route", "status"], None, "Requests to the JSON gateway, by route and status";
    Histogram HTTP_REQUEST_SECONDS = "runlog_http_request_seconds" by ["route"], Some(Unit::Seconds),
        "Time to the head of the answer, by route";
    Counter GRPC_REQUESTS = "runlog_grpc_requests_total" by ["method", "code"], None,
        "gRPC calls, by method and code of the head of the answer";
    Counter REFUSED_REQUESTS = "runlog_refused_requests_total" by ["reason"], None,
        "Requests refused before any handler, for their Host, Origin or protocol, for lack of room in memory, or as gRPC calls for their key, by reason";
    Counter REFUSED_CONNECTIONS = "runlog_refused_connections_total", None,
        "Connections that were closed since their address had --max-connections-per-address of them";
    Counter RATE_LIMITED = "runlog_rate_limited_total" by ["limit"], None,
        "Requests and connections refused since a key or an address was over its limit, by limit: requests, events, bytes, streams, failed_keys, handshakes";
    Counter KEY_LOOKUPS = "runlog_key_lookups_total", None,
        "Reads of the store for keys that requests presented and the server did not know";
    Gauge MEMORY_BYTES = "runlog_memory_bytes" by ["part"], Some(Unit::Bytes),
        "What a part of --max-memory-bytes holds: queue, read_ahead, receive, send, windows, connections, calls";
    Gauge MEMORY_LIMIT_BYTES = "runlog_memory_limit_bytes" by ["part"], Some(Unit::Bytes), "What that part may hold";
    Counter CUT_CONNECTIONS = "runlog_cut_connections_total" by ["reason"], None,
        "Connections that were cut: no_progress (--stall-timeout-ms), memory (others need what it holds), flood (of control frames)";
    Counter TLS_HANDSHAKE_FAILURES = "runlog_tls_handshake_failures_total" by ["reason"], None,
        "TLS handshakes that failed, by reason: no_tls, no_client_certificate, client_certificate, refused_by_client, incompatible, protocol, disconnected, timeout";
    Counter TLS_CERTIFICATE_RELOADS = "runlog_tls_certificate_reloads_total" by ["outcome"], None,
        "Changes of the TLS files, by outcome: loaded, or refused and the certificate before stays in use";
    Gauge TLS_CERTIFICATE_NOT_AFTER = "runlog_tls_certificate_not_after_seconds", Some(Unit::Seconds),
        "Time until which the TLS certificate in use is valid, seconds since 1970";
    Gauge READY = "runlog_ready", None, "1 while the server is ready, as /health/ready says, else 0";
    Counter STORE_ERRORS = "runlog_store_errors_total" by ["reason"], None,
        "Errors of the store that callers were answered, by reason";
    Counter PUBLISHED_EVENTS = "runlog_published_events_total", None, "Events that were stored";
    Gauge SUBSCRIPTIONS = "runlog_subscriptions", None, "Open subscriptions";
    Histogram COMMIT_EVENTS = "runlog_commit_events", Some(Unit::Count), "Events in one commit";
    Histogram COMMIT_SECONDS = "runlog_commit_seconds", Some(Unit::Seconds), "Time of one commit, to the disk";
    Counter DAMAGED_READS = "runlog_damaged_reads_total", None,
        "Times that events were asked for which do not agree with their checksum";
    Counter EXPIRED_EVENTS = "runlog_expired_events_total", None, "Events whose payload retention has removed";
    Counter EXPIRED_BYTES = "runlog_expired_bytes_total", Some(Unit::Bytes), "Bytes of the payloads that retention has removed";
    Gauge RETENTION_PASS_SECONDS = "runlog_retention_pass_seconds", Some(Unit::Seconds),
        "Time for which the longest pass of retention that is not done has been removing events, or failing; 0: there is none";
    Counter COMPACTED_EVENTS = "runlog_compacted_events_total", None, "Deltas whose text was moved into the last one of their step";
    Counter BACKUPS = "runlog_backups_total" by ["outcome"], None,
        "Backups that were begun or refused, by outcome: whole, or failed";
    Gauge LAST_BACKUP = "runlog_last_backup_seconds", Some(Unit::Seconds),
        "Time at which this process sent the newest whole backup, seconds since 1970";
    Counter SCRUBBED_ROWS = "runlog_scrubbed_rows_total", None, "Rows of the log that the scrub has read";
    Gauge SCRUB_DAMAGED_ROWS = "runlog_scrub_damaged_rows", None,
        "Damaged rows that the scrub found since its pass began";
    Gauge POSTGRES_UNANNOUNCED_EVENTS = "runlog_postgres_unannounced_events", None,
        "Events of the feed that this replica has not announced to its subscribers yet, as of the last poll";
    Gauge SQLITE_FILE_BYTES = "runlog_sqlite_file_bytes" by ["file"], Some(Unit::Bytes),
        "Length of a file of the store: database or wal (its write-ahead log)";
    Gauge SQLITE_DISK_FREE_BYTES = "runlog_sqlite_disk_free_bytes", Some(Unit::Bytes),
        "How much more the disk of the database takes";
    Gauge SQLITE_UNINDEXED_ENTRIES = "runlog_sqlite_unindexed_entries", None,
        "Entries at the end of the log that no index covers yet, as of the last step of maintenance";
    Counter SQLITE_MAINTENANCE_FAILURES = "runlog_sqlite_maintenance_failures_total" by ["work"], None,
        "Steps of maintenance that failed and are tried again, by work: flush, merge (and removal), checkpoint";
    Counter SQLITE_LOG_REREADS = "runlog_sqlite_log_rereads_total", None,
        "Failed commits after which the end of the log had to be read from the file again";
}
