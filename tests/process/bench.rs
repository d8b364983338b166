//! `runlog bench` with minimal workloads: the report is tested, not the speed of the machine.

use serde_json::Value;

use crate::command::{json_lines, run};
use crate::harness::{Data, Server, program, within};

/// Small enough for any machine.
const SMALL: [&str; 10] = [
    "--time",
    "100ms",
    "--replay-events",
    "2000",
    "--subscribers",
    "40",
    "--subscribers-per-connection",
    "10",
    "--events",
    "2500",
];

#[tokio::test]
async fn every_workload_reports_rates_times_and_what_the_server_used() {
    let scratch = Data::new();
    let all = [
        "unary-1",
        "unary-64",
        "unary-256",
        "batch-16",
        "batch-100",
        "stream",
        "agent-sdk",
        "replay",
        "fanout",
        "sse",
        "delivery",
        "idle",
        "growth",
    ];
    let mut bench = program();
    bench.arg("bench").args(all).args(SMALL).arg("--json").arg("--scratch").arg(scratch.directory());
    let output = within("the end of the bench", bench.output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let rows = json_lines(&String::from_utf8(output.stdout).unwrap());
    let names: Vec<_> = rows.iter().map(|row| row["workload"].as_str().unwrap()).collect();
    assert_eq!(names, all);
    for row in &rows {
        for figure in ["events_per_second", "server_cpu_s", "server_rss_mib"] {
            assert!(row[figure].is_number(), "{figure} of {row}");
        }
    }
    let row = |name: &str| rows.iter().find(|row| row["workload"] == name).unwrap();
    // The run is read at least once, even with a short time.
    assert!(row("replay")["events_per_second"].as_u64().unwrap() > 0);
    assert!(row("agent-sdk")["rate_of_unary_64"].is_number());
    assert_eq!((&row("idle")["subscribers"], &row("idle")["connections_of_subscribers"]), (&40.0.into(), &4.0.into()));
    assert!(row("idle")["kib_per_subscriber"].is_number());
    assert_eq!(row("growth")["stored_events"], 2500.0);
    assert!(row("growth")["open_after_kill_s"].as_f64().unwrap() > 0.0);
    assert_eq!(std::fs::read_dir(scratch.directory()).unwrap().count(), 0, "the scratch file is removed");
}

#[tokio::test]
async fn subscribers_that_the_server_refuses_are_reported_and_the_others_measured() {
    let data = Data::new();
    let server = Server::with(&data.file(), &["--max-subscriptions", "20"]).await;
    let ran = run(&server.url(), &[&["bench", "idle", "--json"], &SMALL[..]].concat()).await;
    assert!(ran.stderr.contains("of 40 subscribers, then:"), "{ran:?}");
    assert!(ran.stderr.contains("--max-subscriptions are open"), "{ran:?}");
    let row: Value = ran.json().remove(0);
    assert!(row["subscribers"].as_f64().unwrap() <= 20.0, "{row}");
}
