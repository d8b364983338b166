//! Members of the line of an event, each with an error that names it.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::domain::{Error, EventType, Limits, Payload, Removal};

/// Limits above those of any server, so that an import does not refuse a stored payload for its size.
const LIMITS: Limits = Limits {
    max_payload_bytes: 64 << 20,
    max_request_bytes: 0,
    max_request_events: 0,
    max_json_depth: 100,
    max_page_size: 0,
};

/// Members of an event line.
pub struct Fields<'a>(pub Vec<(&'a str, &'a RawValue)>);

impl Fields<'_> {
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(member, _)| *member == name).map(|(_, value)| *value)
    }

    pub fn required(&self, name: &str) -> Result<&RawValue, String> {
        self.get(name).ok_or_else(|| format!("{name}: is missing"))
    }

    pub fn optional<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, Error>) -> Result<Option<T>, String> {
        let Some(raw) = self.get(name) else { return Ok(None) };
        // The error names the member, for instance `run_agent_name` instead of the domain type's `agent_name`.
        parse(&string(name, raw)?).map(Some).map_err(|error| error.with_field(name).to_string())
    }

    pub fn seq(&self) -> Result<u64, String> {
        let seq = self.required("seq")?.get().parse::<u64>().ok();
        // Both stores keep a seq as a signed 64-bit integer.
        let seq = seq.filter(|seq| (1..=i64::MAX as u64).contains(seq));
        seq.ok_or_else(|| "seq: must be a number from 1".to_owned())
    }

    pub fn joined_from(&self) -> Result<Option<u64>, String> {
        let Some(raw) = self.get("joined_from") else { return Ok(None) };
        if self.get("removal").is_some() {
            return Err("joined_from: is given beside removal".to_owned());
        }
        let seq = self.seq()?;
        let from = raw.get().parse().ok().filter(|from| (1..seq).contains(from));
        from.map(Some).ok_or_else(|| "joined_from: must be a seq before that of the event".to_owned())
    }

    pub fn payload(&self, event_type: &EventType) -> Result<Payload, String> {
        let (name, text) = match (self.get("payload"), self.get("payload_text")) {
            (Some(raw), None) => ("payload", raw.get().to_owned()),
            (None, Some(raw)) => ("payload_text", string("payload_text", raw)?),
            (None, None) => return Err("payload: is missing".to_owned()),
            (Some(_), Some(_)) => return Err("payload_text: is given beside payload".to_owned()),
        };
        Payload::parse(event_type, text, &LIMITS).map_err(|error| error.under(name).to_string())
    }
}

pub fn string(name: &str, value: &RawValue) -> Result<String, String> {
    serde_json::from_str(value.get()).map_err(|_| format!("{name}: must be a string"))
}

/// The seq of the first event of a run, which is that of its line.
pub fn first_seq(value: &RawValue, seq: u64) -> Result<u64, String> {
    let first_seq = value.get().parse().ok().filter(|first_seq| *first_seq == seq);
    first_seq.ok_or_else(|| "run_first_seq: must be the seq of the event".to_owned())
}

pub fn removal(value: &RawValue) -> Result<Removal, String> {
    let name = string("removal", value)?;
    Removal::parse(&name).ok_or_else(|| format!("removal: must be erased, expired or compacted; it is {name:?}"))
}

/// Parses with the standard library, which always gives the nearest double.
pub fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
    number.ok_or_else(|| "sent_seconds: must be a number".to_owned())
}

pub fn time(name: &str, text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("{name}: must be RFC 3339 such as 2026-04-02T10:00:00Z; it is {text:?}"))
}
