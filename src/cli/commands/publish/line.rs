//! Parser of one line of `publish --stdin`.

use serde_json::value::RawValue;
use uuid::Uuid;

use crate::cli::output::preview::Members;
use crate::cli::time::{parse_time, wire};
use crate::domain::json::{diagnose, why_not_json};
use crate::domain::time::{TimeError, UnixSeconds};
use crate::pb::{self, payload::Variant};

/// Values for members that a line leaves out.
#[derive(Debug, Default)]
pub struct Defaults {
    /// Run of `--run`, if any.
    pub run_id: Option<String>,
    /// Agent name; empty for none.
    pub agent_name: String,
    /// Number of the protobuf enum; 0 leaves the choice to the server.
    pub origin: i32,
}

/// Parses a line. The payload's text stays byte for byte. An event without an id gets a new id, so that a retry is safe.
/// Limits and values are checked by the server. The error names the field.
pub fn parse(line: &str, defaults: &Defaults) -> Result<pb::PublishRequest, String> {
    let members = Members::parse(line).map_err(|error| match diagnose(line) {
        Some(_) => format!("must be a JSON object on one line; it {}", why_not_json(line)),
        None => format!("must be a JSON object on one line: {error}"),
    })?;
    let mut run_id = None;
    let mut event =
        pb::NewEvent { agent_name: defaults.agent_name.clone(), origin: defaults.origin, ..Default::default() };
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in members.iter() {
        if seen.contains(&name) {
            return Err(format!("{name}: is given twice"));
        }
        seen.push(name);
        match name {
            "payload" => event.payload = Some(json(value.get())),
            // Members of `list --json` that the server assigns again.
            "seq" | "recorded_at" => {}
            // The joined text is published as that of one event. The lines of the others have `removal`, which is refused.
            "joined_from" => {}
            "redacted" if value.get() == "true" => {
                return Err("redacted: the payload is not whole; read it with --full".to_owned());
            }
            "redacted" => {}
            "removal" => return Err("removal: the payload is gone; leave this event out".to_owned()),
            // `null` counts as absent.
            _ if value.get() == "null" && KNOWN.contains(&name) => {}
            "run_id" => run_id = Some(string(name, value)?),
            "type" => event.r#type = string(name, value)?,
            "event_id" => event.event_id = string(name, value)?,
            "agent_name" => event.agent_name = string(name, value)?,
            "origin" => event.origin = origin(&string(name, value)?)?,
            "occurred_at" => event.occurred_at = Some(time_of(value)?),
            _ => return Err(format!("{name}: is not known; known are {}, payload", KNOWN.join(", "))),
        }
    }
    if event.r#type.is_empty() {
        return Err("type: is missing".to_owned());
    }
    if event.event_id.is_empty() {
        event.event_id = Uuid::now_v7().to_string();
    }
    let run_id = run_id.or_else(|| defaults.run_id.clone());
    let run_id = run_id.ok_or("run_id: is missing; name it in the line, or for all lines with --run")?;
    Ok(pb::PublishRequest { run_id, events: vec![event], expected_last_seq: None })
}

const KNOWN: [&str; 6] = ["run_id", "type", "event_id", "agent_name", "origin", "occurred_at"];

/// Member `occurred_at`: ISO 8601 text, or a number of seconds since 1970.
fn time_of(value: &RawValue) -> Result<prost_types::Timestamp, String> {
    let at = |problem: String| format!("occurred_at: {problem}");
    if !value.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        return parse_time(&string("occurred_at", value)?).map_err(at);
    }
    let seconds = value.get().parse().ok().filter(|seconds: &f64| seconds.is_finite());
    let time = seconds.and_then(|seconds| UnixSeconds::new(seconds).at);
    time.map(wire).ok_or_else(|| at(TimeError::OutOfRange.to_string()))
}

fn json(text: &str) -> pb::Payload {
    pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(text.to_owned())) }
}

fn string(name: &str, value: &RawValue) -> Result<String, String> {
    serde_json::from_str(value.get()).map_err(|_| format!("{name}: must be a string"))
}

fn origin(text: &str) -> Result<i32, String> {
    match text.to_ascii_uppercase().as_str() {
        "SYSTEM" => Ok(pb::Origin::System as i32),
        "USER" => Ok(pb::Origin::User as i32),
        _ => Err(format!("origin: must be SYSTEM or USER; it is {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults { run_id: Some("fallback".into()), ..Default::default() }
    }

    #[test]
    fn a_payload_keeps_its_text() {
        let text = r#"{ "b":12345678901234567890123 ,"a":1e2, "b":"\ud800" }"#;
        let line = format!(r#"{{"payload": {text} , "type":"t","run_id":"r","event_id":"e","origin":"system"}}"#);
        let request = parse(&line, &Defaults::default()).unwrap();
        let event = &request.events[0];
        assert_eq!((request.run_id.as_str(), event.event_id.as_str(), event.origin), ("r", "e", 1));
        assert_eq!(event.payload, Some(json(text)));
    }

    #[test]
    fn what_a_line_leaves_out_is_filled_in() {
        let defaults = Defaults { run_id: Some("r".into()), agent_name: "a".into(), origin: 2 };
        let request =
            parse(r#"{"type":"t","occurred_at":"1969-12-31T23:59:59.5Z","event_id":null}"#, &defaults).unwrap();
        let event = &request.events[0];
        assert_eq!((request.run_id.as_str(), event.agent_name.as_str(), event.origin), ("r", "a", 2));
        assert_eq!(event.occurred_at, Some(prost_types::Timestamp { seconds: -1, nanos: 500_000_000 }));
        assert_eq!(Uuid::parse_str(&event.event_id).unwrap().get_version_num(), 7);
    }

    #[test]
    fn a_time_is_read_without_an_offset_and_as_a_number() {
        for (time, seconds, nanos) in [
            (r#""2026-04-02T10:00:00.123456""#, 1_775_124_000, 123_456_000),
            (r#""2026-04-02""#, 1_775_088_000, 0),
            ("1726096542.083", 1_726_096_542, 83_000_000),
            ("-0.5", -1, 500_000_000),
        ] {
            let line = format!(r#"{{"type":"t","occurred_at":{time}}}"#);
            let event = parse(&line, &defaults()).unwrap().events.remove(0);
            assert_eq!(event.occurred_at, Some(prost_types::Timestamp { seconds, nanos }), "{time}");
        }
    }

    #[test]
    fn a_bad_line_names_its_field() {
        for (line, problem) in [
            ("", "must be a JSON object"),
            ("[]", "must be a JSON object"),
            (r#"{"type":"t"} x"#, "must be a JSON object"),
            (r#"{"type":"t","payload":{]}"#, "must be a JSON object"),
            (r#"{"payload":{}}"#, "type: is missing"),
            (r#"{"type":5}"#, "type: must be a string"),
            (r#"{"type":"t","type":"u"}"#, "type: is given twice"),
            (r#"{"type":"t","run":"r"}"#, "run: is not known"),
            (r#"{"type":"t","origin":"me"}"#, "origin: must be SYSTEM or USER"),
            (r#"{"type":"t","occurred_at":"yesterday"}"#, "occurred_at: must be an ISO 8601 time"),
            (r#"{"type":"t","occurred_at":true}"#, "occurred_at: must be a string"),
            (r#"{"type":"t","occurred_at":1e18}"#, "occurred_at: must lie between"),
            (r#"{"type":"t","occurred_at":"9999-12-31"}"#, "occurred_at: must lie between"),
            (r#"{"type":"t","redacted":true}"#, "redacted: the payload is not whole"),
        ] {
            let error = parse(line, &defaults()).unwrap_err();
            assert!(error.starts_with(problem), "{line}: {error}");
        }
        assert!(parse(r#"{"type":"t"}"#, &Defaults::default()).unwrap_err().starts_with("run_id: is missing"));
    }

    #[test]
    fn what_list_prints_can_be_published() {
        let line = r#"{"run_id":"r","seq":1,"event_id":"e","type":"t","origin":"USER","occurred_at":"2026-04-02T10:00:00Z","recorded_at":"2026-04-02T10:00:01Z","payload":[1]}"#;
        assert!(parse(line, &Defaults::default()).is_ok());
    }
}
