//! Sums over the usage of runs: by agent, model and day, over the runs that match.

use jiff::Timestamp;
use runlog::domain::usage::{UsageGroup, UsageGrouping, UsageKey, UsageReport, UsageTotals};
use runlog::domain::{AgentName, RunFilter, RunStatus, SearchText, StructureId};
use runlog::store::{Append, SharedStore, UsageQuery};

use crate::filters::created_at;
use crate::fixture::*;

/// Runs that end with a usage: id, agent, structure, model, input and output tokens, cost.
type Ended<'a> = (&'a str, Option<&'a str>, Option<&'a str>, &'a str, u64, u64, f64);

const RUNS: [Ended<'_>; 5] = [
    ("r1", Some("writer"), Some("s"), "large", 100, 10, 0.5),
    ("r2", Some("writer"), None, "small", 20, 2, 0.25),
    ("r3", Some("reader"), Some("s"), "large", 7, 1, 2.0),
    ("r4", None, None, "", 5, 5, 0.125),
    ("r5", Some("reader"), None, "small", 0, 0, 0.0),
];

/// The runs, a failed one without a usage, and one that goes on.
async fn with_runs(store: &SharedStore) {
    for (run, agent, structure, model, input, output, cost) in RUNS {
        let total = input + output;
        let end = format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{total},"cost_usd":{cost:?},"model":"{model}"}}"#
        );
        let agent_name = agent.map(|name| AgentName::parse(name).unwrap());
        let structure_id = structure.map(|id| StructureId::parse(id).unwrap());
        let ended = append(run, vec![typed("run_start", "{}"), typed("run_end", &end)]);
        store.append(Append { agent_name, structure_id, ..ended }).await.unwrap();
    }
    store.append(append("failed", vec![typed("error", "{}")])).await.unwrap();
    store.append(append("open", vec![typed("run_start", "{}")])).await.unwrap();
}

fn totals(runs: u64, prompt_tokens: u64, completion_tokens: u64, cost_usd: f64) -> UsageTotals {
    let total_tokens = prompt_tokens + completion_tokens;
    UsageTotals { runs, prompt_tokens, completion_tokens, total_tokens, cost_usd }
}

fn group(key: &str, totals: UsageTotals) -> UsageGroup {
    UsageGroup { key: Some(UsageKey::Name(key.to_owned())), totals }
}

async fn grouped(store: &SharedStore, by: UsageGrouping) -> Vec<UsageGroup> {
    store.usage(&UsageQuery { group_by: Some(by), ..UsageQuery::default() }).await.unwrap().groups
}

pub async fn usage_is_summed_by_agent_model_and_day_with_the_highest_cost_first(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let nothing = UsageReport { groups: vec![], total: UsageTotals::default(), complete: true };
    assert_eq!(store.usage(&UsageQuery::default()).await.unwrap(), nothing);
    with_runs(&store).await;
    let all = totals(7, 132, 18, 2.875);
    let report = store.usage(&UsageQuery::default()).await.unwrap();
    assert_eq!(report, UsageReport { groups: vec![], total: all, complete: true });
    let by_agent = UsageQuery { group_by: Some(UsageGrouping::Agent), ..UsageQuery::default() };
    let expected = vec![
        group("reader", totals(2, 7, 1, 2.0)),
        group("writer", totals(2, 120, 12, 0.75)),
        group("", totals(3, 5, 5, 0.125)),
    ];
    assert_eq!(store.usage(&by_agent).await.unwrap(), UsageReport { groups: expected, total: all, complete: true });
    let expected = [
        group("large", totals(2, 107, 11, 2.5)),
        group("small", totals(2, 20, 2, 0.25)),
        group("", totals(3, 5, 5, 0.125)),
    ];
    assert_eq!(grouped(&store, UsageGrouping::Model).await, expected);
    let created = store.run(&run_id("r1")).await.unwrap().created_at;
    let by_day = grouped(&store, UsageGrouping::Day).await;
    let day = Some(UsageKey::Name(created.to_string()[..10].to_owned()));
    assert!(by_day.iter().any(|of_day| of_day.key == day), "{by_day:?}");
    store.close().await;
    let store = fixture.opened().await;
    assert_eq!(store.usage(&UsageQuery::default()).await.unwrap().total, all);
}

pub async fn usage_is_that_of_the_runs_that_match_every_filter(fixture: impl Fixture) {
    let store = fixture.opened().await;
    with_runs(&store).await;
    let total =
        async |filter: RunFilter| store.usage(&UsageQuery { filter, ..UsageQuery::default() }).await.unwrap().total;
    let agent = || Some(AgentName::parse("writer").unwrap());
    let structure = || Some(StructureId::parse("s").unwrap());
    let any = RunFilter::default;
    assert_eq!(total(RunFilter { agent_name: agent(), ..any() }).await, totals(2, 120, 12, 0.75));
    assert_eq!(total(RunFilter { structure_id: structure(), ..any() }).await, totals(2, 107, 11, 2.5));
    let both = RunFilter { agent_name: agent(), structure_id: structure(), ..any() };
    assert_eq!(total(both).await, totals(1, 100, 10, 0.5));
    assert_eq!(total(RunFilter { statuses: vec![RunStatus::Failed], ..any() }).await, totals(1, 0, 0, 0.0));
    let later: Timestamp = "9000-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(total(RunFilter { created_from: Some(later), ..any() }).await, UsageTotals::default());
    assert_eq!(total(RunFilter { created_until: Some(later), ..any() }).await.runs, 7);
    let named = |text: &str| RunFilter { text: Some(SearchText::parse(text).unwrap()), ..any() };
    assert_eq!(total(named("RITE")).await, totals(2, 120, 12, 0.75));
    assert_eq!(total(RunFilter { structure_id: structure(), ..named("3") }).await, totals(1, 7, 1, 2.0));
}

pub async fn runs_are_counted_by_status_as_they_are_now_and_pass_the_filter(fixture: impl Fixture) {
    let store = fixture.opened().await;
    with_runs(&store).await;
    store.append(append("new", vec![event("x")])).await.unwrap();
    let of = |status, totals| UsageGroup { key: Some(UsageKey::Status(status)), totals };
    let (ended, one) = (totals(5, 132, 18, 2.875), totals(1, 0, 0, 0.0));
    // Without cost and tokens the order is that of the numbers of the statuses.
    let before = [
        of(RunStatus::Succeeded, ended),
        of(RunStatus::Unspecified, one),
        of(RunStatus::Running, one),
        of(RunStatus::Failed, one),
    ];
    assert_eq!(grouped(&store, UsageGrouping::Status).await, before);
    store.append(append("open", vec![typed("human_input_requested", r#"{"question":"q"}"#)])).await.unwrap();
    store.append(append("new", vec![typed("run.cancelled", "{}")])).await.unwrap();
    let after = [
        of(RunStatus::Succeeded, ended),
        of(RunStatus::AwaitingInput, one),
        of(RunStatus::Failed, one),
        of(RunStatus::Cancelled, one),
    ];
    assert_eq!(grouped(&store, UsageGrouping::Status).await, after);
    store.append(append("open", vec![event("moves nothing")])).await.unwrap();
    store.close().await;
    let store = fixture.opened().await;
    assert_eq!(grouped(&store, UsageGrouping::Status).await, after);
    let filter = RunFilter { agent_name: Some(AgentName::parse("writer").unwrap()), ..RunFilter::default() };
    let of_writer = UsageQuery { filter, group_by: Some(UsageGrouping::Status), ..UsageQuery::default() };
    let expected = [of(RunStatus::Succeeded, totals(2, 120, 12, 0.75))];
    assert_eq!(store.usage(&of_writer).await.unwrap().groups, expected);
}

pub async fn a_day_of_usage_is_one_of_utc(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let times = ["2026-04-02T00:00:00Z", "2026-04-01T23:59:59.999999999Z", "2026-04-02T23:59:59.5Z"];
    let runs: Vec<_> = (0..).zip(times).map(|(n, at)| (format!("r{n}"), at.parse().unwrap())).collect();
    created_at(&store, &runs).await;
    let days: Vec<_> = grouped(&store, UsageGrouping::Day).await;
    let expected = [group("2026-04-02", totals(2, 0, 0, 0.0)), group("2026-04-01", totals(1, 0, 0, 0.0))];
    assert_eq!(days, expected);
}

pub async fn groups_beyond_the_maximum_are_one_without_a_key(fixture: impl Fixture) {
    let store = fixture.opened().await;
    with_runs(&store).await;
    let by_agent =
        |max_groups| UsageQuery { group_by: Some(UsageGrouping::Agent), max_groups, ..UsageQuery::default() };
    let all = store.usage(&by_agent(3)).await.unwrap();
    assert!(all.groups.iter().all(|group| group.key.is_some()), "{all:?}");
    let first = store.usage(&by_agent(1)).await.unwrap();
    let rest = UsageGroup { key: None, totals: totals(5, 125, 17, 0.875) };
    assert_eq!(first.groups, [group("reader", totals(2, 7, 1, 2.0)), rest]);
    assert_eq!(first.total, all.total);
}

pub async fn usage_of_more_runs_than_are_examined_is_that_of_the_newest(fixture: impl Fixture) {
    let store = fixture.opened().await;
    with_runs(&store).await;
    // Runs may have numbers with gaps between them, so the newest two numbers are those of at most two runs.
    let newest = store.usage(&UsageQuery { max_runs: 2, ..UsageQuery::default() }).await.unwrap();
    assert!(!newest.complete && newest.total.runs <= 2 && newest.total.cost_usd == 0.0, "{newest:?}");
    assert!(store.usage(&UsageQuery { max_runs: 1_000, ..UsageQuery::default() }).await.unwrap().complete);
}

pub async fn a_run_that_reports_beyond_all_numbers_leaves_the_sums_of_usage_usable(fixture: impl Fixture) {
    let store = fixture.opened().await;
    let end = r#"{"prompt_tokens":18446744073709551615,"completion_tokens":1,"cost_usd":1.7e308,"model":"m\u0000\"é"}"#;
    for run in ["r1", "r2"] {
        store.append(append(run, vec![typed("run_end", end)])).await.unwrap();
    }
    store.append(append("r3", vec![typed("run_end", r#"{"prompt_tokens":3,"model":"n"}"#)])).await.unwrap();
    let groups = grouped(&store, UsageGrouping::Model).await;
    assert_eq!(groups.len(), 2, "{groups:?}");
    let sums = UsageTotals { total_tokens: 0, ..totals(2, 18_000_000_000_000, 2, 18e12) };
    assert_eq!(groups[0], group("m\u{fffd}\"é", sums), "a NUL cannot be shown");
    assert_eq!(groups[1], group("n", UsageTotals { total_tokens: 0, ..totals(1, 3, 0, 0.0) }));
}
