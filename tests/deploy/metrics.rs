//! `deploy/prometheus-rules.yaml` and `deploy/grafana-dashboard.json`: each metric and label in them is one of the server,
//! and is read as its kind has to be. `tests/all.sh` lets Prometheus check the rules.

use std::collections::{BTreeMap, BTreeSet};

use runlog::pb;
use runlog::telemetry::{ALL, Kind, Metric};
use serde_json::Value;

use crate::harness::{Data, Server, eventually};
use crate::promql::{Expression, Selector};
use crate::read;

/// Labels that Prometheus adds to every series.
const OF_TARGETS: [&str; 2] = ["job", "instance"];

/// Labels with few values, which a definition or the code of errors names.
const WITH_KNOWN_VALUES: [&str; 5] = ["file", "outcome", "part", "reason", "work"];

/// Labels of recorded series by name.
type Recorded = BTreeMap<String, BTreeSet<String>>;

fn rules() -> Vec<Value> {
    let file: Value = serde_saphyr::from_str(&read("deploy/prometheus-rules.yaml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts() -> Vec<Value> {
    rules().into_iter().filter(|rule| !rule["alert"].is_null()).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana-dashboard.json")).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The expressions of all panels and variables.
fn of_dashboard(dashboard: &Value) -> Vec<String> {
    let targets = panels(dashboard).iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter(|variable| variable["type"] == "query").map(|variable| text(&variable["query"]));
    targets.map(|target| text(&target["expr"])).chain(queries).map(str::to_owned).collect()
}

/// The recorded series, each with the labels of its expression.
fn recorded() -> Recorded {
    let mut recorded = Recorded::new();
    for rule in rules().iter().filter(|rule| !rule["record"].is_null()) {
        let labels = check(text(&rule["expr"]), &recorded).unwrap();
        assert!(recorded.insert(text(&rule["record"]).to_owned(), labels).is_none(), "{rule}");
    }
    recorded
}

/// The metric that a series belongs to: a histogram has three series.
fn metric_of(series: &str) -> Option<&'static Metric> {
    ALL.iter().find(|metric| match metric.kind {
        Kind::Histogram => {
            series.strip_prefix(metric.name).is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end))
        }
        Kind::Counter | Kind::Gauge => metric.name == series,
    })
}

/// Checks an expression; returns the labels that its series have.
fn check(expression: &str, recorded: &Recorded) -> Result<BTreeSet<String>, String> {
    let parsed = Expression::parse(expression)?;
    if parsed.selectors.is_empty() {
        return Err("there is no series".to_owned());
    }
    let mut labels: BTreeSet<String> = OF_TARGETS.map(str::to_owned).into();
    for selector in &parsed.selectors {
        let own = labels_of(selector, &parsed, recorded).map_err(|problem| format!("{}: {problem}", selector.name))?;
        for (label, value) in &selector.matchers {
            if !own.contains(label) && !OF_TARGETS.contains(&label.as_str()) {
                return Err(format!("{} has no label {label}", selector.name));
            }
            if WITH_KNOWN_VALUES.contains(&label.as_str()) && !value.split('|').all(is_known) {
                return Err(format!("{}: no value {value} of {label} is known", selector.name));
            }
        }
        labels.extend(own);
    }
    match parsed.labels.iter().find(|label| !labels.contains(*label)) {
        Some(label) => Err(format!("no series has the label {label}")),
        None => Ok(labels),
    }
}

fn labels_of(selector: &Selector, all: &Expression, recorded: &Recorded) -> Result<BTreeSet<String>, String> {
    if selector.name == "up" {
        return Ok(BTreeSet::new());
    }
    if selector.name.contains(':') {
        return recorded.get(&selector.name).cloned().ok_or_else(|| "no rule records it".to_owned());
    }
    let metric = metric_of(&selector.name).ok_or("no such series; a histogram has _bucket, _sum and _count")?;
    let is_in = |functions: &[&str]| selector.functions.iter().any(|name| functions.contains(&name.as_str()));
    match metric.kind {
        Kind::Gauge if is_in(&["rate", "increase"]) => return Err("a gauge has no rate".to_owned()),
        // With `offset` it is compared with itself.
        Kind::Counter | Kind::Histogram if !is_in(&["rate", "increase"]) && !all.has_offset => {
            return Err("a counter is read by rate or increase".to_owned());
        }
        _ => {}
    }
    let mut labels: BTreeSet<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
    let is_bucket = metric.kind == Kind::Histogram && selector.name.ends_with("_bucket");
    if is_bucket != is_in(&["histogram_quantile"]) {
        return Err("histogram_quantile reads buckets, and nothing else does".to_owned());
    }
    if is_bucket {
        if !all.labels.iter().any(|label| label == "le") {
            return Err("the buckets lose their bounds; group by le".to_owned());
        }
        labels.insert("le".to_owned());
    }
    Ok(labels)
}

/// Whether a help text names the value, or an error has it as its reason.
fn is_known(value: &str) -> bool {
    let is_word = |help: &str| help.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == value);
    let errors = read("src/domain/error/facts.rs");
    let is_reason = match value.strip_suffix(".*") {
        Some(begin) => errors.contains(&format!("\"{begin}")),
        None => errors.contains(&format!("\"{value}\"")),
    };
    ALL.iter().any(|metric| is_word(metric.help)) || is_reason
}

#[test]
fn every_metric_and_label_in_the_rules_and_on_the_dashboard_is_one_that_the_server_has() {
    let recorded = recorded();
    for rule in rules() {
        check(text(&rule["expr"]), &recorded).unwrap_or_else(|problem| panic!("{rule}: {problem}"));
    }
    // The dashboard works without the rules.
    let dashboard = dashboard();
    for expression in of_dashboard(&dashboard) {
        check(&expression, &Recorded::new()).unwrap_or_else(|problem| panic!("{expression}: {problem}"));
    }
}

#[test]
fn what_the_server_does_not_have_is_found() {
    let problem = |expression: &str| check(expression, &Recorded::new()).unwrap_err();
    assert!(problem("rate(runlog_published_total[5m])").contains("no such series"));
    assert!(problem("process_open_fds > 5").contains("no such series"));
    assert!(problem("instance:runlog_unknown:rate5m > 1").contains("no rule records it"));
    assert!(problem("runlog_published_events_total > 5").contains("rate or increase"));
    assert!(problem("rate(runlog_ready[5m])").contains("a gauge has no rate"));
    assert!(problem("rate(runlog_published_events_total)").contains("a range of time"));
    assert!(problem("runlog_ready[5m]").contains("a range of time"));
    assert!(problem("rate(runlog_commit_seconds[5m])").contains("_bucket"));
    assert!(problem("histogram_quantile(0.9, rate(runlog_commit_seconds_bucket[5m]))").contains("group by le"));
    assert!(problem("histogram_quantile(0.9, rate(runlog_commit_seconds_sum[5m]))").contains("reads buckets"));
    assert!(problem("runlog_memory_bytes{path=\"queue\"}").contains("no label path"));
    assert!(problem("runlog_memory_bytes{part=~\"queue|quere\"}").contains("no value queue|quere of part"));
    assert!(problem("sum by (reason) (runlog_ready)").contains("no series has the label reason"));
    assert!(problem("avrg(runlog_ready)").contains("no function"));
    assert!(problem("sum(runlog_ready").contains("parenthesis"));
    assert!(problem("time() > 5").contains("no series"));
    assert_eq!(
        check("sum by (job, part) (runlog_memory_bytes{part!=\"queue\"} offset 5m) / 2 > time()", &Recorded::new()),
        Ok(["instance", "job", "part"].map(str::to_owned).into())
    );
}

#[test]
fn each_alert_says_what_is_wrong_what_to_do_how_urgent_it_is_and_how_long_it_lasts() {
    let (recorded, mut names) = (recorded(), BTreeSet::new());
    for alert in alerts() {
        let name = text(&alert["alert"]);
        assert!(name.starts_with("Runlog") && names.insert(name.to_owned()), "{name}");
        assert!(["critical", "warning"].contains(&text(&alert["labels"]["severity"])), "{name}");
        let (count, unit) = text(&alert["for"]).split_at(text(&alert["for"]).len() - 1);
        assert!(count.parse::<u32>().unwrap() > 0 && ["m", "h"].contains(&unit), "{name}");
        let (summary, description) =
            (text(&alert["annotations"]["summary"]), text(&alert["annotations"]["description"]));
        assert!(summary.contains("{{ $labels.instance }}") && description.split(' ').count() > 10, "{name}");
        let labels = check(text(&alert["expr"]), &recorded).unwrap();
        for shown in format!("{summary}{description}").split("$labels.").skip(1) {
            let label: String = shown.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            assert!(labels.contains(&label), "{name} has no label {label}");
        }
    }
    assert!(names.len() > 20, "the alerts were found");
}

/// The metrics of an expression, also behind recorded series.
fn metrics_in(expression: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for selector in Expression::parse(expression).unwrap().selectors {
        let recorded = rules().into_iter().find(|rule| rule["record"].as_str() == Some(&selector.name));
        match recorded {
            Some(rule) => found.extend(metrics_in(text(&rule["expr"]))),
            None => found.extend(metric_of(&selector.name).map(|metric| metric.name)),
        }
    }
    found
}

#[test]
fn the_dashboard_shows_every_metric_and_names_the_alerts_that_are_there() {
    let dashboard = dashboard();
    let shown: BTreeSet<_> = of_dashboard(&dashboard).iter().flat_map(|expression| metrics_in(expression)).collect();
    let missing: Vec<_> = ALL.iter().map(|metric| metric.name).filter(|name| !shown.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let alerts: BTreeSet<_> = alerts().iter().map(|alert| text(&alert["alert"]).to_owned()).collect();
    for panel in panels(&dashboard) {
        let description = panel["description"].as_str().unwrap_or_default();
        for name in description.split(|c: char| !c.is_alphanumeric()).filter(|word| word.starts_with("Runlog")) {
            assert!(alerts.contains(name), "{name}");
        }
    }
}

#[test]
fn the_dashboard_can_be_imported_anywhere_and_its_panels_do_not_overlap() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36 && dashboard["id"].is_null());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&"datasource".into(), &"datasource".into()));
    let source = serde_json::json!({"type": "prometheus", "uid": "${datasource}"});
    assert!(variables[1..].iter().all(|variable| variable["datasource"] == source));
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert_eq!(panel["datasource"], source, "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        let names: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert!(!names.is_empty() && names.len() == targets.len(), "{title}");
        assert!(targets.iter().all(|target| !text(&target["legendFormat"]).is_empty()), "{title}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{title}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(place), "{title} overlaps");
        }
    }
}

#[test]
fn the_page_lists_every_metric_with_its_kind_and_every_alert() {
    let page = read("deploy/README.md");
    for metric in ALL {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        assert!(page.contains(&format!("\n| `{}` | {kind} | ", metric.name)), "{} is no {kind} there", metric.name);
    }
    let listed = page.matches("\n| `runlog_").count();
    assert_eq!(listed, ALL.len(), "the page has metrics that are not there");
    for alert in alerts() {
        assert!(page.contains(&format!("`{}`", text(&alert["alert"]))), "{alert}");
    }
}

/// The families of `/metrics` with their kinds.
fn kinds(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

/// The series of `/metrics` with the names of their labels, without the bounds of buckets.
fn series(text: &str) -> Vec<(&str, Vec<&str>)> {
    let lines = text.lines().filter(|line| line.starts_with("runlog_"));
    let names_of = |line| {
        let labels = str::split_once(line, '{').map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
        labels.map(|(label, _)| label).filter(|label| *label != "le").collect()
    };
    lines.map(|line| (line.split(['{', ' ']).next().unwrap(), names_of(line))).collect()
}

#[tokio::test]
async fn what_a_server_exports_is_what_the_definitions_say() {
    let data = Data::new();
    let server = Server::start(&data.file()).await;
    let payload = pb::Payload { variant: Some(pb::payload::Variant::Json("{}".to_owned())), ..Default::default() };
    let event = pb::NewEvent { r#type: "step".to_owned(), payload: Some(payload), ..Default::default() };
    let publish = pb::PublishRequest { run_id: "r".to_owned(), events: vec![event], expected_last_seq: None };
    server.events().await.publish(publish).await.unwrap();
    let client = reqwest::Client::new();
    client.get(format!("{}/v1/runs", server.url())).send().await.unwrap();
    client.get(format!("{}/v1/runs", server.url())).header("host", "elsewhere.example").send().await.unwrap();
    let metrics = async || reqwest::get(format!("{}/metrics", server.url())).await.unwrap().text().await.unwrap();
    // Measured every few seconds.
    for gauge in ["runlog_memory_bytes", "runlog_sqlite_disk_free_bytes", "runlog_sqlite_file_bytes", "runlog_ready"] {
        eventually(gauge, async || metrics().await.contains(&format!("# TYPE {gauge} gauge"))).await;
    }
    let text = metrics().await;
    let kinds = kinds(&text);
    for (name, kind) in &kinds {
        let metric = ALL.iter().find(|metric| metric.name == *name).unwrap_or_else(|| panic!("{name} is not defined"));
        assert_eq!(format!("{:?}", metric.kind).to_lowercase(), *kind, "{name}");
    }
    for (name, labels) in series(&text) {
        let metric = metric_of(name).unwrap_or_else(|| panic!("{name} is not defined"));
        assert_eq!(metric.labels, labels, "{name}");
    }
    for metric in ALL.iter().filter(|metric| metric.kind == Kind::Counter && metric.labels.is_empty()) {
        assert!(kinds.contains_key(metric.name), "{} begins at 0", metric.name);
    }
    for metric in ["runlog_http_requests_total", "runlog_grpc_requests_total", "runlog_refused_requests_total"] {
        assert!(kinds.contains_key(metric), "{metric}");
    }
    server.terminate().await;
    assert!(server.ended().await.0.success());
}
