//! Format of an export: a header line, one line for each event, a trailer line.
//!
//! The line of an event contains the payload as the published JSON text. A payload with line breaks, or with white space
//! around the JSON value, does not survive in a line of NDJSON and is written as a string under `payload_text`. So each
//! event has exactly one line, and equal events give equal bytes.

mod fields;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::cli::outcome::Failure;
use crate::cli::output::json_line;
use crate::cli::output::json_line::{origin_name, payload_text};
use crate::cli::output::preview::Members;
use crate::cli::output::text::instant;
use crate::domain::{AgentName, Error, Event, EventId, EventType, Origin, RunId, StructureId};
use crate::pb;
use crate::server::Imported;
use fields::{Fields, first_seq, removal, seconds, string, time};

/// Version of the format that this program reads and writes.
pub const VERSION: u32 = 1;

/// First line: version and scope of the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the format.
    pub runlog_export: u32,
    /// Id of the exported feed, 8 hex digits.
    pub feed: String,
    /// Project of the exported runs; absent: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Export of all runs: position of the feed before the first event that was kept when the export began; absent: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after: u64,
    /// Export of all runs: end of the feed when the export began, as a cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Export of chosen runs, in this order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<Vec<Bound>>,
}

/// A chosen run, with the upper limit of the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    pub run_id: String,
    /// Seq before the first event that was kept when the export began; absent: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after: u64,
    /// Last seq of the run when the export began.
    pub last_seq: u64,
}

/// Last line. A file without a trailer is incomplete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// Version of the format.
    pub runlog_export_end: u32,
    /// Number of event lines.
    pub events: u64,
    /// Number of runs in the file.
    pub runs: u64,
    /// SHA-256 of the event lines including line breaks, in hex.
    pub sha256: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Running totals for the trailer.
#[derive(Clone, Default)]
pub struct Tally {
    events: u64,
    runs: u64,
    hash: Sha256,
}

impl Tally {
    /// Counts an event line, given without the line break.
    pub fn add(&mut self, line: &[u8], is_first_of_run: bool) {
        self.events += 1;
        self.runs += u64::from(is_first_of_run);
        self.hash.update(line);
        self.hash.update(b"\n");
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Trailer for the lines so far.
    pub fn trailer(&self) -> Trailer {
        let sha256 = self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Trailer { runlog_export_end: VERSION, events: self.events, runs: self.runs, sha256 }
    }
}

#[derive(Serialize)]
struct EventLine<'a> {
    run_id: &'a str,
    seq: u64,
    event_id: &'a str,
    r#type: &'a str,
    origin: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    agent_name: &'a str,
    occurred_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_seconds: Option<f64>,
    recorded_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_first_seq: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    run_agent_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    structure_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    joined_from: Option<u64>,
}

/// Line of an event. `run` is given for the first event of a run in the export.
pub fn event(event: &pb::Event, run: Option<&pb::Run>) -> Result<String, Failure> {
    let text = payload_text(event)?;
    let fits = !text.contains(['\n', '\r']);
    let payload = serde_json::from_str::<&RawValue>(text).ok().filter(|raw| fits && raw.get().len() == text.len());
    json_line::line(&EventLine {
        run_id: &event.run_id,
        seq: event.seq,
        event_id: &event.event_id,
        r#type: &event.r#type,
        origin: origin_name(event.origin),
        agent_name: &event.agent_name,
        occurred_at: instant(event.occurred_at.as_ref()),
        sent_seconds: event.sent_seconds,
        recorded_at: instant(event.recorded_at.as_ref()),
        run_first_seq: run.map(|_| event.seq).filter(|seq| *seq > 1),
        run_agent_name: run.map(|run| run.agent_name.as_str()).unwrap_or_default(),
        structure_id: run.map(|run| run.structure_id.as_str()).unwrap_or_default(),
        payload,
        payload_text: payload.is_none().then_some(text),
        removal: json_line::removal_name(event.removal),
        joined_from: json_line::joined_from(event),
    })
}

/// Parses the line of an event. The error names the field.
pub fn parse_event(line: u64, text: &str) -> Result<Imported, String> {
    let members = Members::parse(text).map_err(|error| format!("is no JSON object: {error}"))?;
    let mut seen: Vec<(&str, &RawValue)> = Vec::with_capacity(12);
    for (name, value) in members.iter() {
        if !KNOWN.contains(&name) {
            return Err(format!("{name}: is not known"));
        }
        if seen.iter().any(|(before, _)| *before == name) {
            return Err(format!("{name}: is given twice"));
        }
        seen.push((name, value));
    }
    let fields = Fields(seen);
    let text_of = |name| fields.required(name).and_then(|raw| string(name, raw));
    let problem = |error: Error| error.to_string();
    let event_type = EventType::parse(&text_of("type")?).map_err(problem)?;
    let event = Event {
        run_id: RunId::parse(&text_of("run_id")?).map_err(problem)?,
        seq: fields.seq()?,
        event_id: EventId::parse(&text_of("event_id")?).map_err(problem)?,
        origin: match text_of("origin")?.as_str() {
            "SYSTEM" => Origin::System,
            "USER" => Origin::User,
            other => return Err(format!("origin: must be SYSTEM or USER; it is {other:?}")),
        },
        occurred_at: time("occurred_at", &text_of("occurred_at")?)?,
        sent_seconds: fields.get("sent_seconds").map(|raw| seconds(raw.get())).transpose()?,
        recorded_at: time("recorded_at", &text_of("recorded_at")?)?,
        agent_name: fields.optional("agent_name", AgentName::parse)?,
        payload: fields.payload(&event_type)?,
        removal: fields.get("removal").map(removal).transpose()?,
        joined_from: fields.joined_from()?,
        event_type,
    };
    let run_first_seq = fields.get("run_first_seq").map(|raw| first_seq(raw, event.seq)).transpose()?;
    let run_agent_name = fields.optional("run_agent_name", AgentName::parse)?;
    let structure_id = fields.optional("structure_id", StructureId::parse)?;
    Ok(Imported { line, event, run_first_seq, run_agent_name, structure_id })
}

const KNOWN: [&str; 16] = [
    "run_id",
    "seq",
    "event_id",
    "type",
    "origin",
    "agent_name",
    "occurred_at",
    "sent_seconds",
    "recorded_at",
    "run_first_seq",
    "run_agent_name",
    "structure_id",
    "payload",
    "payload_text",
    "removal",
    "joined_from",
];

#[cfg(test)]
mod tests;
