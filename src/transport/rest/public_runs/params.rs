//! Parameters of the public runs API: path, query and headers. The fields are what the parser fills and what
//! `/openapi.json` describes. Each header may be given once.

use axum::http::HeaderMap;
use jiff::Timestamp;
use utoipa::IntoParams;

use crate::domain::time;
use crate::domain::{AgentName, Error, EventFilter, Limits, RunFilter, RunId, RunStatus, SearchText, StructureId};
use crate::service::control::status_name;
use crate::transport::rest::headers::one;
use crate::transport::rest::http_error::HttpError;
use crate::transport::rest::path_variable::{self, Variable};
use crate::transport::rest::query::{Order, Query, TypesQuery};

use super::schema::PublicRunStatus;

/// Header that makes a retry safe, as spelled in error messages.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Events or runs in one page of a request without `limit`.
const DEFAULT_PAGE_SIZE: usize = 50;

/// Path of the routes of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RunPath {
    /// The run.
    #[param(value_type = String)]
    pub id: RunId,
}

impl RunPath {
    /// Run id of a path for a publish, which may create the run. 422 for an invalid id.
    pub fn parse_new(id: Variable) -> Result<Self, HttpError> {
        Ok(Self { id: RunId::parse(&path_variable::text(id)?).map_err(|error| error.with_field("id"))? })
    }

    /// Run id of a path. An invalid id answers 404, like any id without a run.
    pub fn parse(id: Variable) -> Result<Self, HttpError> {
        let text = path_variable::text(id)?;
        let not_found = |_| Error::RunNotFound { run_id: text.chars().take(200).collect() };
        Ok(Self { id: RunId::parse(&text).map_err(not_found)? })
    }
}

/// Filter of runs, for lists and sums.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunFilterQuery {
    /// Only runs with these statuses; repeatable.
    #[param(value_type = Option<Vec<PublicRunStatus>>, inline)]
    pub status: Vec<RunStatus>,
    /// Only runs of this agent.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub agent: Option<AgentName>,
    /// Only runs of this structure.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub structure: Option<StructureId>,
    /// Only runs created at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Only runs created before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Only runs with this text in the id or the name of the agent; ASCII letters match in either case.
    #[param(value_type = Option<String>, min_length = 1, max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub text: Option<SearchText>,
}

impl RunFilterQuery {
    /// Takes all parameters of the filter.
    pub fn take(query: &mut Query) -> Result<Self, HttpError> {
        Ok(Self {
            status: statuses(query)?,
            agent: agent(query)?,
            structure: structure(query)?,
            from: time(query, "from")?,
            until: time(query, "until")?,
            text: query.one("text")?.map(|text| SearchText::parse(&text)).transpose()?,
        })
    }

    /// The filter.
    pub fn filter(self) -> RunFilter {
        let Self { status: statuses, agent: agent_name, structure: structure_id, from, until, text } = self;
        RunFilter { statuses, agent_name, structure_id, created_from: from, created_until: until, text }
    }
}

/// Page of runs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// Maximum number of runs; 50 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub limit: usize,
    /// The next_cursor of an earlier page.
    #[param(value_type = Option<String>, pattern = "^(r1-0*[1-9a-f][0-9a-f]{0,14})?$")]
    pub cursor: String,
}

impl RunsQuery {
    /// Takes the parameters of the page.
    pub fn take(query: &mut Query, limits: &Limits) -> Result<Self, HttpError> {
        let cursor = query.one("cursor")?.unwrap_or_default();
        Ok(Self { limit: limit(query, limits)?, cursor })
    }
}

/// Page of the events of a run.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Maximum number of events; 50 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub limit: usize,
    /// Seq of the last event read, exclusive.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub cursor: Option<String>,
    /// The same as cursor; only one of the two may be given.
    #[param(pattern = "^(0|[1-9][0-9]{0,17})?$")]
    pub after_seq: Option<String>,
    /// Oldest first (asc, the default) or newest first (desc).
    #[param(value_type = Option<Order>, inline)]
    pub order: Order,
}

impl EventsQuery {
    /// Takes `cursor`, or `after_seq` under the same meaning, with 422 for both; `limit` and `order`.
    pub fn take(query: &mut Query, limits: &Limits) -> Result<Self, HttpError> {
        let (cursor, after_seq) = (query.one("cursor")?, query.one("after_seq")?);
        if cursor.is_some() && after_seq.is_some() {
            return Err(HttpError::field("after_seq", "is the same as cursor; give one of them"));
        }
        Ok(Self { cursor, after_seq, limit: limit(query, limits)?, order: query.order()? })
    }
}

/// Takes `limit`, at most the largest page; 50 when absent.
fn limit(query: &mut Query, limits: &Limits) -> Result<usize, HttpError> {
    let max = limits.max_page_size;
    let limit = query.number("limit", DEFAULT_PAGE_SIZE.min(max) as u64, 1..=max as u64)?;
    Ok(usize::try_from(limit).unwrap_or(max))
}

/// Takes `types`, with the name of the parameter in errors.
pub fn types(query: &mut Query) -> Result<EventFilter, HttpError> {
    named(TypesQuery::take(query))
}

/// The filter, or an error with the name of the parameter.
pub fn named(taken: Result<TypesQuery, Error>) -> Result<EventFilter, HttpError> {
    match taken {
        Ok(TypesQuery { types }) => Ok(types),
        Err(Error::InvalidField { field, problem }) => {
            Err(HttpError::field(field.strip_prefix("filter.").unwrap_or(&field), problem))
        }
        Err(other) => Err(other.into()),
    }
}

/// Takes `agent`.
fn agent(query: &mut Query) -> Result<Option<AgentName>, HttpError> {
    let agent = query.one("agent")?.map(|name| AgentName::parse(&name)).transpose();
    Ok(agent.map_err(|error| error.with_field("agent"))?)
}

/// Takes `structure`.
fn structure(query: &mut Query) -> Result<Option<StructureId>, HttpError> {
    let structure = query.one("structure")?.map(|id| StructureId::parse(&id)).transpose();
    Ok(structure.map_err(|error| error.with_field("structure"))?)
}

/// Takes a time as ISO 8601 text.
fn time(query: &mut Query, name: &str) -> Result<Option<Timestamp>, HttpError> {
    let at = query.one(name)?.map(|text| time::parse(&text)).transpose();
    at.map_err(|error| HttpError::field(name, error.to_string()))
}

/// Takes `status`, repeatable, by the names that runs show.
fn statuses(query: &mut Query) -> Result<Vec<RunStatus>, HttpError> {
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

/// Header of calls that may be repeated.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct IdempotencyHeader {
    /// Makes a retry safe: the same key with the same request takes effect once.
    #[param(
        rename = "Idempotency-Key",
        nullable = false,
        min_length = 1,
        max_length = 200,
        pattern = "^[!-~]([ -~]{0,198}[!-~])?$"
    )]
    pub idempotency_key: Option<String>,
}

impl IdempotencyHeader {
    /// Reads the header: 1 to 200 characters.
    pub fn read(headers: &HeaderMap) -> Result<Self, HttpError> {
        let idempotency_key = one(headers, IDEMPOTENCY_KEY)?;
        match &idempotency_key {
            Some(key) if key.is_empty() || key.len() > 200 => {
                Err(HttpError::field(IDEMPOTENCY_KEY, "must be 1 to 200 characters"))
            }
            _ => Ok(Self { idempotency_key }),
        }
    }
}

/// Header of a conditional publish.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct ConditionHeader {
    /// Last seq of the run, plain or quoted, 0 for a run that does not exist; `*`: the run exists.
    #[param(rename = "If-Match", value_type = Option<String>, nullable = false,
        pattern = "^(\\*|[0-9]{1,18}|\"[0-9]{1,18}\")$")]
    pub if_match: Option<IfMatch>,
}

/// Condition of a publish on the state of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// The run exists.
    Exists,
    /// The last seq of the run is this one; 0: the run does not exist.
    LastSeq(u64),
}

impl ConditionHeader {
    /// Reads the header: a seq, plain or quoted as an entity tag, or `*` for a run that exists.
    pub fn read(headers: &HeaderMap) -> Result<Self, HttpError> {
        let Some(text) = one(headers, "If-Match")? else { return Ok(Self { if_match: None }) };
        if text == "*" {
            return Ok(Self { if_match: Some(IfMatch::Exists) });
        }
        let digits = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&text);
        let is_decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse() {
            Ok(seq) if is_decimal => Ok(Self { if_match: Some(IfMatch::LastSeq(seq)) }),
            _ => Err(HttpError::field("If-Match", "must be the run's last seq, such as 12 or \"12\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn if_match_takes_a_seq_plain_or_quoted() {
        let if_match = |text: &str| ConditionHeader::read(&headers("if-match", text)).map(|header| header.if_match);
        let (twelve, none) = (IfMatch::LastSeq(12), IfMatch::LastSeq(0));
        for (text, asked) in [("12", twelve), ("\"12\"", twelve), ("0", none), ("*", IfMatch::Exists)] {
            assert_eq!(if_match(text).unwrap(), Some(asked), "{text}");
        }
        for bad in ["", "\"", "\"\"", "W/\"12\"", "\"1\", \"2\"", "+1", "-1", "99999999999999999999", "x"] {
            let problem = if_match(bad).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.field.as_deref()), (422, Some("If-Match")), "{bad}");
        }
        assert_eq!(ConditionHeader::read(&HeaderMap::new()).unwrap().if_match, None);
    }

    #[test]
    fn a_key_is_bounded_and_given_once() {
        assert!(IdempotencyHeader::read(&headers("idempotency-key", &"k".repeat(200))).is_ok());
        assert!(IdempotencyHeader::read(&headers("idempotency-key", &"k".repeat(201))).is_err());
        assert!(IdempotencyHeader::read(&headers("idempotency-key", "é")).is_err());
        let mut twice = headers("idempotency-key", "a");
        twice.append("idempotency-key", "a".parse().unwrap());
        assert!(IdempotencyHeader::read(&twice).is_err());
    }
}
