//! `runlog runs`: a list of runs, or one run in full.

use anstyle::Style;
use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;

use crate::cli::client::ClientArgs;
use crate::cli::outcome::Failure;
use crate::cli::output::format::OutputArgs;
use crate::cli::output::json_line;
use crate::cli::output::json_line::status_name;
use crate::cli::output::printer::Printer;
use crate::cli::output::render::{Clock, note, status_style};
use crate::cli::output::text::{clean, cut, cut_middle, grouped, instant, local_time, shown_name};
use crate::cli::time::parse_time;
use crate::pb;

const DIM: Style = Style::new().dimmed();
/// Page size in runs.
const PAGE: u64 = 500;
const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// The options that make no sense beside the id of one run.
const FILTER_AND_PAGE: [&str; 8] = ["status", "agent", "structure", "since", "until", "text", "limit", "cursor"];

/// The options of `runlog runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// Show this run in full
    #[arg(value_name = "RUN", conflicts_with_all = FILTER_AND_PAGE)]
    id: Option<String>,
    /// Only runs of this status; may be given several times
    #[arg(long, value_enum, ignore_case = true)]
    status: Vec<StatusArg>,
    /// Only runs of this agent
    #[arg(long, default_value = "", hide_default_value = true)]
    agent: String,
    /// Only runs of this structure
    #[arg(long, default_value = "", hide_default_value = true)]
    structure: String,
    /// Only runs created at this time or later, for instance 2026-04-02T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<prost_types::Timestamp>,
    /// Only runs created before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<prost_types::Timestamp>,
    /// Only runs with this text in the id or the name of the agent; ASCII letters match in either case
    #[arg(long, default_value = "", hide_default_value = true)]
    text: String,
    /// At most this many runs; 0 for all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Go on after an earlier list, which printed this cursor; with the same filters
    #[arg(long, value_name = "CURSOR", default_value = "", hide_default_value = true)]
    cursor: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum StatusArg {
    Queued,
    Starting,
    Running,
    AwaitingInput,
    Stalled,
    Succeeded,
    Failed,
    Cancelled,
}

impl StatusArg {
    fn number(self) -> i32 {
        let status = match self {
            Self::Queued => pb::RunStatus::Queued,
            Self::Starting => pb::RunStatus::Starting,
            Self::Running => pb::RunStatus::Running,
            Self::AwaitingInput => pb::RunStatus::AwaitingInput,
            Self::Stalled => pb::RunStatus::Stalled,
            Self::Succeeded => pb::RunStatus::Succeeded,
            Self::Failed => pb::RunStatus::Failed,
            Self::Cancelled => pb::RunStatus::Cancelled,
        };
        status as i32
    }
}

/// Prints the runs, the latest created first.
pub async fn run(args: RunsArgs) -> Result<(), Failure> {
    let mut printer = Printer::new(args.output.format(), Clock::Day).with_header(header());
    if let Some(run_id) = &args.id {
        let mut runs = args.client.runs().await?;
        let call = runs.get_run(args.client.request(pb::GetRunRequest { run_id: run_id.clone() }));
        let answer = args.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
        let run = answer.run.unwrap_or_default();
        return printer.only(|| json_line::run(&run), || in_full(&run, &TimeZone::system()));
    }
    let listed = list(&args, &mut printer).await;
    printer.end_failed(listed)
}

async fn list(args: &RunsArgs, printer: &mut Printer) -> Result<(), Failure> {
    let mut runs = args.client.runs().await?;
    let mut cursor = args.cursor.clone();
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    loop {
        let request = pb::ListRunsRequest {
            page_size: i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX),
            cursor,
            statuses: args.status.iter().map(|status| status.number()).collect(),
            agent_name: args.agent.clone(),
            structure_id: args.structure.clone(),
            created_from: args.since,
            created_until: args.until,
            text: args.text.clone(),
        };
        let call = runs.list_runs(args.client.request(request));
        let page = args.client.answer(call).await.map_err(|status| Failure::of_status(&status))?;
        for run in &page.runs {
            printer.result(|| json_line::run(run), || row(run, &TimeZone::system()))?;
        }
        printer.flush()?;
        left = left.saturating_sub(page.runs.len() as u64);
        cursor = page.next_cursor;
        if cursor.is_empty() {
            return printer.end_list("no runs");
        }
        if left == 0 {
            printer.end()?;
            note(&format!("there is more: go on with --cursor {cursor}, or see all with --limit 0"));
            return Ok(());
        }
    }
}

fn header() -> String {
    let (created, status, events, took, agent) = ("CREATED", "STATUS", "EVENTS", "TOOK", "AGENT");
    format!("{DIM}{created:<19}  {status:<14}  {events:>9}  {took:>9}  {agent:<20}  RUN{DIM:#}")
}

fn row(run: &pb::Run, zone: &TimeZone) -> String {
    let created = local_time(run.created_at.as_ref(), zone, TIME);
    let (style, status) = (status_style(run.status), status_name(run.status));
    let (events, took) = (grouped(run.last_seq), took(run));
    let agent = clean(&run.agent_name);
    let agent = cut(&agent, 20);
    let run_id = shown_name(&run.run_id);
    let run_id = cut_middle(&run_id, 200);
    format!("{DIM}{created}{DIM:#}  {style}{status:<14}{style:#}  {events:>9}  {took:>9}  {agent:<20}  {run_id}")
}

/// Time from start to completion; empty if either is missing.
fn took(run: &pb::Run) -> String {
    let (Some(start), Some(end)) = (instant(run.started_at.as_ref()), instant(run.completed_at.as_ref())) else {
        return String::new();
    };
    let seconds = end.duration_since(start).as_secs_f64();
    match seconds {
        s if s < 60.0 => format!("{s:.1}s"),
        s if s < 3_600.0 => format!("{:.0}m{:02.0}s", (s / 60.0).floor(), (s % 60.0).floor()),
        s => format!("{:.0}h{:02.0}m", (s / 3_600.0).floor(), (s % 3_600.0 / 60.0).floor()),
    }
}

fn in_full(run: &pb::Run, zone: &TimeZone) -> String {
    let style = status_style(run.status);
    let mut lines = vec![
        ("run", shown_name(&run.run_id).into_owned()),
        ("status", format!("{style}{}{style:#}", status_name(run.status))),
        ("events", grouped(run.last_seq)),
        ("kept from", if run.first_seq > 1 { grouped(run.first_seq) } else { String::new() }),
        ("hold", if run.held { "held against retention".to_owned() } else { String::new() }),
        ("agent", clean(&run.agent_name).into_owned()),
        ("structure", clean(&run.structure_id).into_owned()),
        ("created", local_time(run.created_at.as_ref(), zone, TIME)),
        ("updated", local_time(run.updated_at.as_ref(), zone, TIME)),
        ("started", local_time(run.started_at.as_ref(), zone, TIME)),
        ("completed", local_time(run.completed_at.as_ref(), zone, TIME)),
        ("took", took(run)),
        ("output", clean(&run.output_json).into_owned()),
        ("error", clean(&run.error_json).into_owned()),
    ];
    if let Some(usage) = &run.usage {
        lines.push(("usage", used(usage)));
    }
    if let Some(pending) = &run.pending_input {
        let parts =
            [&pending.question, &pending.input_kind, &pending.reason_code, &pending.channel, &pending.context_json];
        let parts: Vec<_> = parts.into_iter().filter(|text| !text.is_empty()).map(|text| clean(text)).collect();
        lines.push(("waits for", format!("{} (event {})", parts.join(" · "), pending.requested_seq)));
    }
    let known = lines.into_iter().filter(|(_, value)| !value.is_empty() && value != "-");
    known.map(|(name, value)| format!("{DIM}{name:<10}{DIM:#} {value}")).collect::<Vec<_>>().join("\n")
}

/// What is known of the usage. A run may have a total without its parts: a zero is no count of tokens or money.
fn used(usage: &pb::Usage) -> String {
    let (prompt, completion, total) = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens);
    let tokens = match (prompt, completion) {
        (1.., 1..) if prompt.checked_add(completion) == Some(total) => {
            format!("{} + {} = {} tokens", grouped(prompt), grouped(completion), grouped(total))
        }
        _ => {
            let parts = [(prompt, "prompt"), (completion, "completion"), (total, "total")];
            let known = parts.iter().filter(|(tokens, _)| *tokens > 0);
            known.map(|(tokens, of)| format!("{} {of} tokens", grouped(*tokens))).collect::<Vec<_>>().join(", ")
        }
    };
    let cost = if usage.cost_usd == 0.0 { String::new() } else { format!("${:.4}", usage.cost_usd) };
    let known = [tokens, cost, clean(&usage.model).into_owned()];
    known.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn stored() -> pb::Run {
        pb::Run {
            run_id: "run-1".into(),
            status: pb::RunStatus::AwaitingInput as i32,
            agent_name: "a\u{1b}[2J".into(),
            created_at: at(0),
            started_at: at(0),
            completed_at: at(75),
            last_seq: 1_234,
            output_json: "{\"answer\":\"\u{9b}x\"}".into(),
            pending_input: Some(pb::PendingInput {
                question: "Deploy?".into(),
                channel: "slack".into(),
                requested_seq: 9,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_run_is_one_aligned_row() {
        let row = plain(&row(&stored(), &TimeZone::UTC));
        assert_eq!(row, "1970-01-01 00:00:00  AWAITING_INPUT      1,234      1m15s  a\\u{1b}[2J            run-1");
        let (header, agent) = (plain(&header()), row.find("a\\u").unwrap());
        assert_eq!(header.find("AGENT"), Some(agent));
    }

    #[test]
    fn usage_shows_what_is_known_and_no_sum_of_zeros() {
        let usage = |prompt_tokens, completion_tokens, total_tokens, cost_usd, model: &str| {
            used(&pb::Usage { prompt_tokens, completion_tokens, total_tokens, cost_usd, model: model.into() })
        };
        assert_eq!(usage(0, 0, 195, 0.0, ""), "195 total tokens");
        assert_eq!(usage(1_100, 95, 1_195, 0.25, "m"), "1,100 + 95 = 1,195 tokens, $0.2500, m");
        assert_eq!(usage(100, 0, 195, 0.0, ""), "100 prompt tokens, 195 total tokens");
        assert_eq!(
            usage(u64::MAX, 1, 7, 0.0, ""),
            "18,446,744,073,709,551,615 prompt tokens, 1 completion tokens, 7 total tokens"
        );
        assert_eq!(usage(0, 0, 0, 0.5, ""), "$0.5000");
    }

    #[test]
    fn a_run_in_full_shows_known_fields_only() {
        let text = plain(&in_full(&stored(), &TimeZone::UTC));
        assert!(text.contains("waits for  Deploy? · slack (event 9)"), "{text}");
        assert!(text.contains("\\u{9b}x") && !text.contains('\u{9b}'), "{text}");
        assert!(!text.contains("structure") && !text.contains("usage") && !text.contains("error"), "{text}");
    }
}
