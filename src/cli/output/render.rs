//! Events as lines for people: aligned, and coloured on a terminal.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use super::json_line;
use super::preview::{Members, preview};
use super::text::{clean, cut, cut_middle, local_time, shown_name};
use crate::cli::outcome::Failure;
use crate::pb;

const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WAITS: Style = AnsiColor::Yellow.on_default().bold();
const LIFECYCLE: Style = AnsiColor::Blue.on_default().bold();
const TOOL: Style = AnsiColor::Cyan.on_default();
const DECISION: Style = AnsiColor::Magenta.on_default();
const PLAIN: Style = Style::new();

const MAX_RUN_CHARS: usize = 36;
const MAX_TYPE_CHARS: usize = 28;
const MAX_AGENT_CHARS: usize = 20;
/// Minimum width of the payload, even if the line then wraps.
const MIN_PREVIEW_CHARS: usize = 24;

/// Time format: with the day, or without the day for a live screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// `11-20 08:31:22.123`
    Day,
    /// `08:31:22.123`
    Time,
}

impl Clock {
    fn format(self) -> &'static str {
        match self {
            Self::Day => "%m-%d %H:%M:%S%.3f",
            Self::Time => "%H:%M:%S%.3f",
        }
    }
}

/// Cells of an event, as wide as their text.
struct Cells {
    run: String,
    seq: String,
    event_type: String,
    agent: String,
}

impl Cells {
    fn of(event: &pb::Event) -> Self {
        let cell = |text: &str, max| cut(&clean(text), max).into_owned();
        Self {
            run: cut_middle(&shown_name(&event.run_id), MAX_RUN_CHARS).into_owned(),
            seq: format!("#{}", event.seq),
            event_type: cell(&event.r#type, MAX_TYPE_CHARS),
            agent: cell(&event.agent_name, MAX_AGENT_CHARS),
        }
    }
}

/// Formats lines in columns. A column grows with the longest value so far and never shrinks, so that lines stay aligned.
pub struct Layout {
    zone: TimeZone,
    clock: Clock,
    line: usize,
    run: usize,
    seq: usize,
    event_type: usize,
    agent: usize,
}

impl Layout {
    /// `line` is the line width in characters.
    pub fn new(clock: Clock, line: usize, zone: TimeZone) -> Self {
        // A live screen starts with columns wide enough for most events, so that the columns do not shift.
        let (run, event_type, agent) = if clock == Clock::Time { (19, 26, 14) } else { (8, 16, 0) };
        Self { zone, clock, line, run, seq: 3, event_type, agent }
    }

    /// Widens the columns for an event, so that the lines before it are aligned with its own.
    pub fn fit(&mut self, event: &pb::Event) {
        self.widen(&Cells::of(event));
    }

    fn widen(&mut self, cells: &Cells) {
        let grow = |width: &mut usize, text: &str| *width = text.chars().count().max(*width);
        grow(&mut self.run, &cells.run);
        grow(&mut self.seq, &cells.seq);
        grow(&mut self.event_type, &cells.event_type);
        grow(&mut self.agent, &cells.agent);
    }

    /// The event on one line, without the line break.
    pub fn event(&mut self, event: &pb::Event) -> Result<String, Failure> {
        let json = json_line::payload_text(event)?;
        let members = Members::of(json);
        let time = local_time(event.recorded_at.as_ref(), &self.zone, self.clock.format());
        let cells = Cells::of(event);
        self.widen(&cells);
        let (seq, run) = (cells.seq, padded(cells.run, self.run));
        let event_type = padded(cells.event_type, self.event_type);
        let agent = padded(cells.agent, self.agent);
        let agent = if self.agent == 0 { agent } else { agent + "  " };
        let style = style_of(&event.r#type, &members);
        let width = self.seq;
        let head = time.len() + self.run + self.seq + self.event_type + agent.chars().count() + 2 * 4;
        let room = self.line.saturating_sub(head).max(MIN_PREVIEW_CHARS);
        let mark = if event.redacted { "▒ " } else { "" };
        let preview = match json_line::removal_name(event.removal) {
            Some(removal) => format!("({removal})"),
            None => preview(json, &members, room - mark.chars().count()),
        };
        Ok(format!(
            "{DIM}{time}{DIM:#}  {run}  {DIM}{seq:>width$}{DIM:#}  {style}{event_type}{style:#}  {DIM}{agent}{DIM:#}{mark}{preview}"
        ))
    }
}

/// The text with spaces up to the width of the column.
fn padded(mut text: String, width: usize) -> String {
    let chars = text.chars().count();
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(chars)));
    text
}

/// Colour of an event by its effect on the run: success, failure, wait, lifecycle, tool call, decision.
fn style_of(event_type: &str, members: &Members<'_>) -> Style {
    match event_type {
        "run_end" | "run.worker.succeeded" | "FinishStructureRunEvent" => GOOD,
        "StructureRunCompleted" => match members.string("status").as_deref() {
            Some("FAILED") => BAD,
            Some("CANCELLED") => WAITS,
            _ => GOOD,
        },
        "error" | "StructureRunError" | "run.worker.failed" | "run.limit_exceeded" => BAD,
        "step.done" if members.string("outcome").as_deref() == Some("fail_run") => BAD,
        "human_input_requested"
        | "run.awaiting_input"
        | "run.worker.stalled"
        | "run.worker.retry_scheduled"
        | "run.cancelled" => WAITS,
        "human_input_received" | "run_start" | "StructureRunStarting" | "StructureRunRunning" => LIFECYCLE,
        "tool_call" | "run.tool.invoked" => TOOL,
        "run.coordination.decision" => DECISION,
        other if other.starts_with("run.") => LIFECYCLE,
        _ => PLAIN,
    }
}

pub fn status_style(status: i32) -> Style {
    match pb::RunStatus::try_from(status).unwrap_or_default() {
        pb::RunStatus::Succeeded => GOOD,
        pb::RunStatus::Failed => BAD,
        pb::RunStatus::AwaitingInput | pb::RunStatus::Stalled | pb::RunStatus::Cancelled => WAITS,
        pb::RunStatus::Running | pb::RunStatus::Starting => LIFECYCLE,
        pb::RunStatus::Queued | pb::RunStatus::Unspecified => DIM,
    }
}

/// Prints a note on stderr, apart from the output on stdout.
pub fn note(text: &str) {
    // A failed write to stderr cannot be reported.
    let _ = writeln!(anstream::stderr(), "{DIM}{}{DIM:#}", clean(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(run_id: &str, event_type: &str, json: &str) -> pb::Event {
        let variant = Some(pb::payload::Variant::Json(json.to_owned()));
        pb::Event {
            run_id: run_id.into(),
            seq: 7,
            r#type: event_type.into(),
            recorded_at: Some(prost_types::Timestamp { seconds: 1_000_000_000, nanos: 123_456_789 }),
            payload: Some(pb::Payload { extra_json: String::new(), variant }),
            ..Default::default()
        }
    }

    fn layout(line: usize) -> Layout {
        Layout::new(Clock::Day, line, TimeZone::UTC)
    }

    fn plain(layout: &mut Layout, event: &pb::Event) -> String {
        anstream::adapter::strip_str(&layout.event(event).unwrap()).to_string()
    }

    #[test]
    fn an_event_is_one_aligned_line() {
        let mut layout = layout(100);
        let first = event("run-1", "step", r#"{"node_name":"search"}"#);
        assert_eq!(plain(&mut layout, &first), "09-09 01:46:40.123  run-1      #7  step              node_name=search");
        let longer = event("a-longer-run-id", "run.coordination.decision", "{}");
        plain(&mut layout, &longer);
        let after = plain(&mut layout, &first);
        assert!(after.starts_with("09-09 01:46:40.123  run-1             #7  step                       "), "{after}");
    }

    #[test]
    fn the_events_of_a_page_are_aligned_with_each_other() {
        let mut layout = layout(100);
        let (short, mut long) = (event("r", "step", "{}"), event("a-longer-run-id", "run.coordination.decision", "{}"));
        (long.seq, long.agent_name) = (1_234_567, "planner".into());
        [&short, &long].into_iter().for_each(|event| layout.fit(event));
        let places = [&short, &long].map(|event| {
            let line = plain(&mut layout, event);
            [line.find(&event.r#type).unwrap(), line.find('#').unwrap() + format!("#{}", event.seq).len(), line.len()]
        });
        assert_eq!(places[0], places[1]);
    }

    #[test]
    fn a_line_fits_the_terminal() {
        let json = format!("{{\"text\":\"{}\"}}", "é".repeat(100_000));
        for width in [80, 120, 200] {
            let line = plain(&mut layout(width), &event("run-1", "step", &json));
            assert!(line.chars().count() <= width, "{width}: {line}");
            assert!(line.ends_with('…'));
        }
        let hostile = event(&"r".repeat(200), &"t".repeat(200), &json);
        assert!(plain(&mut layout(80), &hostile).chars().count() < 140);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let mut hostile = event("r", "t\u{1b}[2J\u{9b}x", "{\"k\u{7f}\":\"\u{9b}31m\u{202e}\\u001b\"}");
        hostile.agent_name = "a\u{7}\u{2028}".into();
        let line = plain(&mut layout(200), &hostile);
        assert!(!line.contains(|c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{2028}')), "{line:?}");
        assert!(line.contains("t\\u{1b}[2J\\u{9b}x"), "{line:?}");
    }

    #[test]
    fn the_colour_shows_the_effect_of_an_event() {
        let style = |event_type, json| style_of(event_type, &Members::of(json));
        assert_eq!(style("StructureRunCompleted", r#"{"status":"FAILED"}"#), BAD);
        assert_eq!(style("StructureRunCompleted", r#"{"status":"SUCCEEDED"}"#), GOOD);
        assert_eq!(style("run.awaiting_input", "{}"), WAITS);
        assert_eq!(style("run.worker.started", "{}"), LIFECYCLE);
        assert_eq!(style("MyOwnEvent", "{}"), PLAIN);
    }
}
