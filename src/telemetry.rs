//! The metrics of this process. All modules count with the macros of the `metrics` crate; this module holds the recorder, the
//! buckets and the help texts of `/metrics`.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Interval at which raw histogram samples are moved into buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Histogram buckets for durations, seconds: from a read in memory to a stalled disk.
const SECONDS: [f64; 12] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0];

/// Histogram buckets for counts of events.
const COUNTS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

/// The recorder of this process, installed at the first call.
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
    describe();
    handle
}

fn describe() {
    metrics::describe_counter!("runlog_http_requests_total", "Requests to the JSON gateway, by route and status");
    metrics::describe_histogram!(
        "runlog_http_request_seconds",
        Unit::Seconds,
        "Time to the head of the answer, by route"
    );
    metrics::describe_counter!(
        "runlog_grpc_requests_total",
        "gRPC calls, by method and code of the head of the answer"
    );
    metrics::describe_counter!(
        "runlog_refused_requests_total",
        "Requests refused before any handler, for their Host, Origin or protocol or for lack of room in memory, by reason"
    );
    metrics::describe_counter!(
        "runlog_refused_connections_total",
        "Connections that were closed since their address had --max-connections-per-address of them"
    );
    metrics::describe_gauge!(
        "runlog_memory_bytes",
        Unit::Bytes,
        "What a part of --max-memory-bytes holds: queue, read_ahead, receive, send, windows, connections, calls"
    );
    metrics::describe_gauge!("runlog_memory_limit_bytes", Unit::Bytes, "What that part may hold");
    metrics::describe_counter!(
        "runlog_cut_connections_total",
        "Connections that were cut: no_progress (--stall-timeout-ms), memory (others need what it holds), flood (of control frames)"
    );
    metrics::describe_gauge!("runlog_ready", "1 while the server is ready, as /health/ready says, else 0");
    metrics::describe_counter!(
        "runlog_store_errors_total",
        "Errors of the store that callers were answered, by reason"
    );
    metrics::describe_counter!("runlog_published_events_total", "Events that were stored");
    metrics::describe_gauge!("runlog_subscriptions", "Open subscriptions");
    metrics::describe_histogram!("runlog_commit_events", Unit::Count, "Events in one commit");
    metrics::describe_histogram!("runlog_commit_seconds", Unit::Seconds, "Time of one commit, to the disk");
    metrics::describe_counter!(
        "runlog_damaged_reads_total",
        "Times that events were asked for which do not agree with their checksum"
    );
    metrics::describe_counter!("runlog_scrubbed_rows_total", "Rows of the log that the scrub has read");
    metrics::describe_gauge!("runlog_scrub_damaged_rows", "Damaged rows that the scrub found since its pass began");
    metrics::describe_gauge!(
        "runlog_postgres_unannounced_events",
        "Events of the feed that this replica has not announced to its subscribers yet, as of the last poll"
    );
    metrics::describe_gauge!(
        "runlog_sqlite_file_bytes",
        Unit::Bytes,
        "Length of a file of the store: database or wal (its write-ahead log)"
    );
    metrics::describe_gauge!(
        "runlog_sqlite_disk_free_bytes",
        Unit::Bytes,
        "How much more the disk of the database takes"
    );
    metrics::describe_gauge!(
        "runlog_sqlite_unindexed_entries",
        "Entries at the end of the log that no index covers yet, as of the last step of maintenance"
    );
    metrics::describe_counter!(
        "runlog_sqlite_maintenance_failures_total",
        "Steps of maintenance that failed and are tried again, by work: flush, merge (and removal), checkpoint"
    );
    metrics::describe_counter!(
        "runlog_sqlite_log_rereads_total",
        "Failed commits after which the end of the log had to be read from the file again"
    );
}
