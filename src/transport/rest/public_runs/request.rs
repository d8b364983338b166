//! Requests of the public runs API: path, query parameters, headers and bodies. Each header may be given once.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, Uri};
use serde_json::Value;

use crate::domain::{AgentName, Error, EventFilter, EventId, EventType, Limits, NewEvent, Payload, RunId, RunStatus};
use crate::service::control::{Control, status_name};
use crate::service::runs;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{self, Fields};
use crate::transport::rest::headers::one;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::query::Query;
use crate::transport::rest::time;

/// Header that makes a retry safe, as spelled in error messages.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Events or runs in one page of a request without `limit`.
const DEFAULT_PAGE_SIZE: usize = 50;

/// Members of a create request in the order of the payload of `run.created`, with the JSON type of each.
const CREATE_MEMBERS: [(&str, &str); 9] = [
    ("input", ""),
    ("metadata", "an object"),
    ("attachment_refs", "an array"),
    ("sensitivity_tags", "an array"),
    ("streaming", "true or false"),
    ("routing_hint", "a string"),
    ("routing", "an object"),
    ("workspace_id", NAME),
    ("subject_id", NAME),
];

/// Type of the names of a workspace and a subject; limited, since runs will be searched by these names.
const NAME: &str = "a string of at most 200 characters";

/// The `{id}` of a path, as extracted.
pub type Id = Result<Path<String>, PathRejection>;

fn text_of(path: Id) -> Result<String, HttpError> {
    path.map(|Path(text)| text).map_err(|rejection| HttpError::malformed(rejection.body_text()))
}

/// Run id of a path for a publish, which may create the run. 422 for an invalid id.
pub fn new_run_id(path: Id) -> Result<RunId, HttpError> {
    Ok(RunId::parse(&text_of(path)?).map_err(|error| error.with_field("id"))?)
}

/// Run id of a path. An invalid id answers 404, like any id without a run.
pub fn run_id(path: Id) -> Result<RunId, HttpError> {
    let text = text_of(path)?;
    let not_found = |_| Error::RunNotFound { run_id: text.chars().take(200).collect() }.into();
    RunId::parse(&text).map_err(not_found)
}

/// Refuses every parameter, for routes without parameters.
pub fn no_parameters(uri: &Uri) -> Result<(), HttpError> {
    Query::parse(uri.query()).finish()
}

/// Takes `limit`, from 1 to `max`; 50 when absent.
pub fn limit(query: &mut Query, max: usize) -> Result<usize, HttpError> {
    let limit = query.number("limit", DEFAULT_PAGE_SIZE.min(max) as u64, 1..=max as u64)?;
    Ok(usize::try_from(limit).unwrap_or(max))
}

/// Takes `types`, given once and separated by commas, or repeated with one type each. `run.*` matches every type with
/// the prefix `run.`.
pub fn types(query: &mut Query) -> Result<EventFilter, HttpError> {
    EventFilter::parse(&query.several("types"), Vec::new()).map_err(|error| match error {
        Error::InvalidField { field, problem } => {
            HttpError::field(field.strip_prefix("filter.").unwrap_or(&field), problem)
        }
        other => other.into(),
    })
}

/// Takes `order`: true for newest first.
pub fn is_descending(query: &mut Query) -> Result<bool, HttpError> {
    match query.one("order")?.as_deref() {
        None | Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(_) => Err(HttpError::field("order", "must be asc or desc")),
    }
}

/// Takes `cursor`, or `after_seq` under the same meaning; 422 for both.
pub fn cursor(query: &mut Query) -> Result<String, HttpError> {
    match (query.one("cursor")?, query.one("after_seq")?) {
        (Some(_), Some(_)) => Err(HttpError::field("after_seq", "is the same as cursor; give one of them")),
        (cursor, after_seq) => Ok(cursor.or(after_seq).unwrap_or_default()),
    }
}

/// Takes `status`, repeatable, by the names that runs show.
pub fn statuses(query: &mut Query) -> Result<Vec<RunStatus>, HttpError> {
    let mut statuses = Vec::new();
    for word in query.all("status") {
        let shown_so = RunStatus::ALL.into_iter().filter(|status| status_name(*status) == word);
        let before = statuses.len();
        statuses.extend(shown_so);
        if statuses.len() == before {
            let known: Vec<_> = RunStatus::ALL[1..].iter().map(|status| status_name(*status)).collect();
            return Err(HttpError::field("status", format!("must be one of {}", known.join(", "))));
        }
    }
    Ok(statuses)
}

/// Value of `Idempotency-Key`, 1 to 200 characters; `None` when absent.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, HttpError> {
    let key = one(headers, IDEMPOTENCY_KEY)?;
    match &key {
        Some(key) if key.is_empty() || key.len() > 200 => {
            Err(HttpError::field(IDEMPOTENCY_KEY, "must be 1 to 200 characters"))
        }
        _ => Ok(key),
    }
}

/// Condition of a publish on the state of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// The run exists.
    Exists,
    /// The last seq of the run is this one; 0: the run does not exist.
    LastSeq(u64),
}

/// Value of `If-Match`: a seq, plain or quoted as an entity tag, or `*` for a run that exists; `None` when absent.
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, HttpError> {
    let Some(text) = one(headers, "If-Match")? else { return Ok(None) };
    if text == "*" {
        return Ok(Some(IfMatch::Exists));
    }
    let digits = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&text);
    let is_decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let seq = digits.parse().ok().filter(|_| is_decimal);
    let problem = || HttpError::field("If-Match", "must be the run's last seq, such as 12 or \"12\"");
    seq.map(|seq| Some(IfMatch::LastSeq(seq))).ok_or_else(problem)
}

/// `run.created` with the members as sent, null included, and the run id if the client chose one. No body and null read
/// as an empty object.
pub fn run_created(text: &str, request_id: &str, limits: &Limits) -> Result<(Option<RunId>, NewEvent), HttpError> {
    let mut payload = format!(r#"{{"request_id":{}"#, Value::from(request_id));
    let mut fields = Fields::parse(or_empty(text), "")?;
    let id = fields.string("id")?.map(|id| RunId::parse(&id)).transpose().map_err(|error| error.with_field("id"))?;
    for (name, kind) in CREATE_MEMBERS {
        if let Some(raw) = fields.raw(name) {
            if !is_kind(raw, kind) {
                return Err(HttpError::field(name, format!("must be {kind}")));
            }
            payload.push_str(&format!(r#","{name}":{raw}"#));
        }
    }
    fields.finish()?;
    payload.push('}');
    Ok((id, runs::created_event(payload, limits).map_err(|error| error.under("body"))?))
}

/// Whether a valid JSON text has this type, mostly by the first character. Null is allowed for each type.
fn is_kind(raw: &str, kind: &str) -> bool {
    let first = raw.bytes().next().unwrap_or_default();
    raw == "null"
        || match kind {
            "an object" => first == b'{',
            "an array" => first == b'[',
            "a string" => first == b'"',
            NAME => serde_json::from_str::<String>(raw).is_ok_and(|name| name.chars().count() <= 200),
            "true or false" => matches!(first, b't' | b'f'),
            _ => true,
        }
}

/// Parses one event, or an array of events.
pub fn new_events(text: &str, limits: &Limits) -> Result<(EventPath, Vec<NewEvent>), HttpError> {
    let Some(elements) = fields::elements(text)? else {
        return Ok((EventPath::One, vec![new_event(Fields::parse(text, "")?, "", limits)?]));
    };
    let (count, max) = (elements.len(), limits.max_request_events);
    if count == 0 || count > max {
        return Err(HttpError::field("events", format!("must hold 1 to {max} events; it has {count}")));
    }
    let event = |(i, element): (usize, &serde_json::value::RawValue)| {
        let path = EventPath::Bare.of(i);
        new_event(Fields::parse(element.get(), &path)?, &path, limits)
    };
    let events = elements.into_iter().enumerate().map(event).collect::<Result<_, _>>()?;
    Ok((EventPath::Bare, events))
}

fn new_event(mut fields: Fields<'_>, path: &str, limits: &Limits) -> Result<NewEvent, HttpError> {
    let at = |error: Error| HttpError::from(if path.is_empty() { error } else { error.under(path) });
    let event_type = EventType::parse(&fields.required_string("type")?).map_err(at)?;
    let payload = fields.raw("payload").ok_or_else(|| at(Error::invalid("payload", "must be set")))?;
    let (occurred_at, sent_seconds) = time::take(&mut fields, "timestamp")?;
    let event_id = fields.string("event_id")?.map(|text| EventId::parse(&text)).transpose().map_err(at)?;
    let agent_name = fields.string("agent_name")?.map(|text| AgentName::parse(&text)).transpose().map_err(at)?;
    fields.finish()?;
    let payload = Payload::parse(&event_type, payload, limits).map_err(|error| at(error.under("payload")))?;
    Ok(NewEvent { event_id, occurred_at, sent_seconds, agent_name, ..NewEvent::new(event_type, payload) })
}

/// Parses a signal: `{"action":…,"payload"?}`.
pub fn signal(text: &str) -> Result<Control, HttpError> {
    let mut fields = Fields::parse(text, "")?;
    let action = fields.required_string("action")?;
    let payload = fields.raw("payload").map(ToOwned::to_owned);
    fields.finish()?;
    match action.as_str() {
        "approve" => Ok(Control::Approve { payload }),
        "reject" => Ok(Control::Reject { payload }),
        "submit_input" => Ok(Control::SubmitInput { payload }),
        _ => Err(HttpError::field("action", "must be approve, reject or submit_input")),
    }
}

/// Accepts no body, null, and an object without members.
pub fn nothing(text: &str) -> Result<(), HttpError> {
    Fields::parse(or_empty(text), "")?.finish()
}

fn or_empty(text: &str) -> &str {
    if matches!(text.trim(), "" | "null") { "{}" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn if_match_takes_a_seq_plain_or_quoted() {
        let (twelve, none) = (IfMatch::LastSeq(12), IfMatch::LastSeq(0));
        for (text, asked) in [("12", twelve), ("\"12\"", twelve), ("0", none), ("*", IfMatch::Exists)] {
            assert_eq!(if_match(&headers("if-match", text)).unwrap(), Some(asked), "{text}");
        }
        for bad in ["", "\"", "\"\"", "W/\"12\"", "\"1\", \"2\"", "+1", "-1", "99999999999999999999", "x"] {
            let problem = if_match(&headers("if-match", bad)).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.field.as_deref()), (422, Some("If-Match")), "{bad}");
        }
        assert_eq!(if_match(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_key_is_bounded_and_given_once() {
        assert!(idempotency_key(&headers("idempotency-key", &"k".repeat(200))).is_ok());
        assert!(idempotency_key(&headers("idempotency-key", &"k".repeat(201))).is_err());
        assert!(idempotency_key(&headers("idempotency-key", "é")).is_err());
        let mut twice = headers("idempotency-key", "a");
        twice.append("idempotency-key", "a".parse().unwrap());
        assert!(idempotency_key(&twice).is_err());
    }
}
