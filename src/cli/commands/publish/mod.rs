//! `runlog publish`: one event from the options, or many from stdin.

pub mod input;
pub mod line;
pub mod stdin;

use std::io::Read;
use std::path::Path;

use clap::Args;
use uuid::Uuid;

use crate::cli::client::{ClientArgs, is_transient};
use crate::cli::outcome::{Exit, Failure};
use crate::cli::output::format::OutputArgs;
use crate::cli::output::json_line;
use crate::cli::output::json_line::status_name;
use crate::cli::output::published::Published;
use line::Defaults;

use crate::cli::output::printer::Printer;
use crate::cli::output::render::Clock;
use crate::cli::output::text::{clean, shown_name};
use crate::cli::scope::OriginArg;
use crate::cli::time::parse_time;
use crate::pb;

/// Limit of a payload that is read from a file, bytes; the server's own limit is lower.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The options of `runlog publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// `-` reads one event from each line of stdin, as does --stdin
    #[arg(value_name = "-", value_parser = ["-"], hide_possible_values = true)]
    dash: Option<String>,
    /// Read one event from each line: {"run_id", "type", "payload", "event_id"?, "origin"?, "occurred_at"?,
    /// "agent_name"?}, as `runlog list --json` prints them. A line that is refused is reported by its number and does not
    /// stop the others
    #[arg(long, conflicts_with_all = ["event_type", "payload", "event_id", "expected_last_seq", "occurred_at"])]
    stdin: bool,
    /// The run; with --stdin, the run of lines that name none
    #[arg(long, required_unless_present_any = ["stdin", "dash"])]
    run: Option<String>,
    /// What happened, for instance run_start
    #[arg(long = "type", value_name = "TYPE", required_unless_present_any = ["stdin", "dash"], conflicts_with = "dash")]
    event_type: Option<String>,
    /// What there is to say about it: JSON, or @FILE, or @- for stdin [default: {}]
    #[arg(long, value_name = "JSON|@FILE", conflicts_with = "dash")]
    payload: Option<String>,
    /// Makes a repetition safe: the same run, id and content are stored once [default: a new UUID]
    #[arg(long, value_name = "ID", conflicts_with = "dash")]
    event_id: Option<String>,
    /// The agent; with --stdin, the agent of lines that name none
    #[arg(long)]
    agent: Option<String>,
    /// Who says so [default: by the type]
    #[arg(long, value_enum)]
    origin: Option<OriginArg>,
    /// When it happened, ISO 8601; without an offset it is UTC [default: the server's clock]
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "dash")]
    occurred_at: Option<prost_types::Timestamp>,
    /// Store only if the run ends at this event; 0 if the run must not exist yet
    #[arg(long, value_name = "SEQ", conflicts_with = "dash")]
    expected_last_seq: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// Publishes one event from the options, or the lines of stdin.
pub async fn run(args: PublishArgs) -> Result<(), Failure> {
    if args.stdin || args.dash.is_some() {
        let defaults = Defaults {
            run_id: args.run,
            agent_name: args.agent.unwrap_or_default(),
            origin: args.origin.map_or(0, OriginArg::number),
        };
        return stdin::run(&args.client, defaults, args.output.format()).await;
    }
    one(args).await
}

async fn one(args: PublishArgs) -> Result<(), Failure> {
    let run_id = args.run.unwrap_or_default();
    let given = args.event_id.is_some();
    let event_id = args.event_id.unwrap_or_else(|| Uuid::now_v7().to_string());
    let variant = pb::payload::Variant::Json(payload(args.payload.as_deref().unwrap_or("{}"))?);
    let event = pb::NewEvent {
        event_id: event_id.clone(),
        r#type: args.event_type.unwrap_or_default(),
        origin: args.origin.map_or(0, OriginArg::number),
        occurred_at: args.occurred_at,
        agent_name: args.agent.unwrap_or_default(),
        payload: Some(pb::Payload { extra_json: String::new(), variant: Some(variant) }),
    };
    let request =
        pb::PublishRequest { run_id: run_id.clone(), events: vec![event], expected_last_seq: args.expected_last_seq };
    let mut events = args.client.events().await?;
    let call = events.publish(args.client.request(request));
    let answer = args.client.answer(call).await.map_err(|status| {
        let failure = Failure::of_status(&status);
        let unknown = is_transient(&status) && !given;
        if unknown { failure.hint(format!("repeat it with --event-id {event_id}: it is stored once")) } else { failure }
    })?;
    let Some(published) = answer.events.first() else {
        return Err(Failure::new(Exit::Protocol, "the server did not say what became of the event"));
    };
    let outcome = Published {
        line: None,
        run_id: &run_id,
        seq: published.seq,
        event_id: &published.event_id,
        duplicate: published.duplicate,
        run_status: status_name(answer.run_status),
    };
    Printer::new(args.output.format(), Clock::Day).only(|| json_line::line(&outcome), || row(&outcome))
}

fn row(outcome: &Published<'_>) -> String {
    let again = if outcome.duplicate { "  (stored before)" } else { "" };
    let (run_id, event_id) = (shown_name(outcome.run_id), clean(outcome.event_id));
    format!("{run_id}  #{}  {}  {event_id}{again}", outcome.seq, outcome.run_status)
}

/// JSON text of `--payload`: the value itself, or the content of `@FILE`. The server validates the JSON.
fn payload(option: &str) -> Result<String, Failure> {
    let Some(path) = option.strip_prefix('@') else {
        return Ok(option.to_owned());
    };
    let mut text = String::new();
    let read = match path {
        "-" => std::io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text)),
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::of_file("--payload", Path::new(path), &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_the_text_or_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{ \"a\" : 1.0 }\n").unwrap();
        assert_eq!(payload(&format!("@{}", file.path().display())).unwrap(), "{ \"a\" : 1.0 }\n");
        assert_eq!(payload("{ }").unwrap(), "{ }");
        assert_eq!(payload("@/does/not/exist").unwrap_err().exit, Exit::NotFound);
    }

    #[test]
    fn the_result_of_an_event_is_one_line() {
        let outcome =
            Published { line: None, run_id: "r", seq: 3, event_id: "e\u{1b}", duplicate: true, run_status: "RUNNING" };
        assert_eq!(row(&outcome), "r  #3  RUNNING  e\\u{1b}  (stored before)");
    }
}
